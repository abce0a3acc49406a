"""Profiles: what is read, what is refused, and that libseccomp takes the result."""

import errno
from pathlib import Path
from typing import Any

import orjson
import pytest

from hypernetes.api.models.core_v1 import Pod
from hypernetes.nodeagent import seccomp
from hypernetes.nodeagent.environment import ConfigError

ALLOW, ERRNO = 0x7FFF0000, 0x00050000


def program(tmp_path: Path, own: Any = None, shared: Any = None, capabilities: tuple[str, ...] = ()) -> bytes:
    container = {"name": "a", "image": "i", "securityContext": own or {}}
    pod = Pod.from_dict({"spec": {"containers": [container], "securityContext": shared or {}}})
    return seccomp.Profiles(tmp_path).program(pod, pod.spec.containers[0], capabilities)


def profile(kind: str, **more: str) -> dict[str, Any]:
    return {"seccompProfile": {"type": kind, **more}}


def test_none_is_none_and_a_privileged_container_has_none(tmp_path: Path) -> None:
    assert program(tmp_path) == b""
    assert program(tmp_path, profile("Unconfined"), profile("RuntimeDefault")) == b""
    assert program(tmp_path, {"privileged": True}, profile("RuntimeDefault")) == b""


def test_the_containers_own_goes_before_the_pods_and_a_capability_gives_calls_back(tmp_path: Path) -> None:
    plain = program(tmp_path, None, profile("RuntimeDefault"))
    assert len(plain) % 8 == 0
    assert plain == program(tmp_path, profile("RuntimeDefault"), profile("Unconfined"))
    assert len(program(tmp_path, profile("RuntimeDefault"), capabilities=("SYS_ADMIN",))) < len(plain)


def test_the_default_keeps_namespaces_and_modules_away() -> None:
    rules = seccomp.runtime_default(frozenset({"SYS_MODULE"})).rules
    denied = {rule.call: rule.action for rule in rules}
    assert denied["unshare"] == denied["mount"] == ERRNO | errno.EPERM
    assert denied["clone3"] == ERRNO | errno.ENOSYS
    assert "init_module" not in denied
    assert len([rule for rule in rules if rule.call == "clone"]) == 7


def test_a_profile_of_the_node_is_read_and_compiled(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    args = [{"index": 1, "value": 7, "op": "SCMP_CMP_EQ"}]
    document = {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": 38,
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
        "syscalls": [
            {"names": ["read", "no_such_call"], "action": "SCMP_ACT_ALLOW"},
            {"names": ["write"], "action": "SCMP_ACT_ALLOW", "args": args},
            {"names": ["same"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38},
        ],
    }
    (tmp_path / "deep" / "p.json").write_bytes(orjson.dumps(document))
    parsed = seccomp.parse(orjson.dumps(document))
    assert parsed.default == ERRNO | 38
    assert [rule.call for rule in parsed.rules] == ["read", "no_such_call", "write"]
    assert parsed.rules[2].comparisons == (seccomp.Comparison(1, 4, 7),)
    assert program(tmp_path, profile("Localhost", localhostProfile="deep/p.json"))


@pytest.mark.parametrize("name", ["", "/etc/passwd", "../p.json", "a/../../p.json", "absent.json"])
def test_a_profile_that_the_node_has_not_is_no_way_to_its_files(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="seccomp profile"):
        program(tmp_path, profile("Localhost", localhostProfile=name))


@pytest.mark.parametrize(
    "text",
    [
        b"", b"[]", b"{}", b'{"defaultAction":"SCMP_ACT_NOTIFY"}',
        b'{"defaultAction":"SCMP_ACT_ALLOW","listenerPath":"/x"}',
        b'{"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_ARM"]}',
        b'{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"action":"SCMP_ACT_ERRNO"}]}',
        b'{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["a"],"action":"SCMP_ACT_ERRNO","errnoRet":4096}]}',
        b'{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["a"],"action":"SCMP_ACT_ERRNO","includes":{}}]}',
        b'{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["a"],"action":"SCMP_ACT_ERRNO","args":[{"index":6,'
        b'"value":1,"op":"SCMP_CMP_EQ"}]}]}',
    ],
)  # fmt: skip
def test_a_profile_that_is_not_understood_whole_is_refused(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "p.json").write_bytes(text)
    with pytest.raises(ConfigError, match="not valid"):
        program(tmp_path, profile("Localhost", localhostProfile="p.json"))
