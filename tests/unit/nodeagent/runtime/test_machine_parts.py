"""The pure parts of machines: command line, limits, capabilities, clock, uids, records."""

import os
from pathlib import Path

import pytest

from hypernetes.nodeagent.runtime import messages, qemu, uids
from hypernetes.nodeagent.runtime.base import ContainerSpec, MachineError
from hypernetes.nodeagent.runtime.cgroup import Cgroups, Hierarchy, Limits, find_hierarchy, settings
from hypernetes.nodeagent.runtime.clock import correction
from hypernetes.nodeagent.runtime.processes import ProcessId
from hypernetes.nodeagent.runtime.state import Disk, MachineRecord, MachineState, StateError

FDS = qemu.Inherited(kernel=3, initramfs=4, toolbox=5, link_socket=6, monitor_socket=7, tap=8)
SHAPE = qemu.Shape(memory_mib=128, cpus=1, nic=True, accel=qemu.Accel.TCG, tsc_khz=2_500_000)


def test_a_tcg_guest_is_told_its_clock_and_a_kvm_guest_keeps_its_mitigations() -> None:
    tcg = " ".join(qemu.command_line("n", SHAPE, FDS, "02:00:00:00:00:01"))
    kvm_shape = qemu.Shape(128, 1, nic=True, accel=qemu.Accel.KVM, tsc_khz=2_500_000)
    kvm = " ".join(qemu.command_line("n", kvm_shape, FDS, "02:00:00:00:00:01"))
    assert "tsc_early_khz=2500000" in tcg
    assert "mitigations" not in kvm
    assert "tsc" not in kvm
    assert "-cpu host" in kvm


def test_every_machine_is_sandboxed_and_has_nothing_but_what_is_named() -> None:
    arguments = qemu.command_line("n", SHAPE, FDS, "02:00:00:00:00:01")
    assert arguments[arguments.index("-sandbox") + 1].startswith("on,")
    assert {"-nodefaults", "-no-user-config", "-no-reboot"} <= set(arguments)
    assert "tap,id=net0,fd=8" in arguments


def test_a_machine_without_a_nic_has_no_netdev() -> None:
    fds = qemu.Inherited(kernel=3, initramfs=4, toolbox=5, link_socket=6, monitor_socket=7)
    assert "-netdev" not in qemu.command_line("n", SHAPE, fds, None)


def test_a_clone_maps_the_templates_memory_privately_and_waits_for_its_state() -> None:
    fds = qemu.Inherited(kernel=3, initramfs=4, toolbox=5, link_socket=6, monitor_socket=7, tap=8, memory=9)
    template = qemu.command_line("n", SHAPE, fds, qemu.TEMPLATE_MAC, memory_shared=True)
    clone = qemu.command_line("n", SHAPE, fds, qemu.TEMPLATE_MAC, incoming=True)
    backend = "memory-backend-file,id=m0,size=128M,mem-path=/proc/self/fd/9,share="
    assert f"{backend}on" in template
    assert f"{backend}off" in clone
    # All else is equal: the device state fits no other machine.
    assert [word for word in clone if word not in template] == [f"{backend}off", "-incoming", "defer"]


def test_read_only_disks_are_opened_read_only() -> None:
    block, device = qemu.plug_arguments("lun2", 7, 2, read_only=True)
    assert block["read-only"] is True
    assert block["file"] == {
        "driver": "file",
        "filename": "/dev/fdset/7",
        "read-only": True,
        "auto-read-only": False,
    }
    assert device["lun"] == 2


def spec(**more: object) -> ContainerSpec:
    return ContainerSpec("c.0", "image", ["true"], {}, **more)  # type: ignore[arg-type]


def names(mask: int) -> set[str]:
    return {name for number, name in enumerate(messages.CAPABILITIES) if mask >> number & 1}


def test_capabilities_are_added_and_dropped_as_kubernetes_says() -> None:
    assert names(messages.capability_mask(spec())) == messages.DEFAULT_CAPABILITIES
    assert names(messages.capability_mask(spec(drop_capabilities=["ALL"], add_capabilities=["NET_BIND_SERVICE"]))) == {
        "NET_BIND_SERVICE"
    }
    assert "NET_ADMIN" in names(messages.capability_mask(spec(add_capabilities=["CAP_NET_ADMIN"])))
    assert "CHOWN" not in names(messages.capability_mask(spec(drop_capabilities=["chown"])))
    assert names(messages.capability_mask(spec(privileged=True))) == set(messages.CAPABILITIES)


def test_an_unknown_capability_is_an_error_that_names_it() -> None:
    with pytest.raises(MachineError, match="NO_SUCH"):
        messages.capability_mask(spec(add_capabilities=["NO_SUCH"]))


def test_the_first_capability_is_chown_and_the_last_checkpoint_restore() -> None:
    assert (messages.CAPABILITIES[0], messages.CAPABILITIES[40]) == ("CHOWN", "CHECKPOINT_RESTORE")


def test_a_v2_tree_with_controllers_is_preferred_and_one_without_is_not() -> None:
    v1 = "cgroup /sys/fs/cgroup/memory cgroup rw,memory 0 0\ncgroup /sys/fs/cgroup/cpu cgroup rw,cpu,cpuacct 0 0\n"
    v2 = "cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n"
    hybrid = find_hierarchy(v1 + v2, {"/sys/fs/cgroup/unified": ""})
    assert hybrid == Hierarchy(None, {"memory": Path("/sys/fs/cgroup/memory"), "cpu": Path("/sys/fs/cgroup/cpu")})
    pure = find_hierarchy(v2, {"/sys/fs/cgroup/unified": "cpuset cpu io memory pids"})
    assert pure.unified == Path("/sys/fs/cgroup/unified")


def test_limits_are_written_in_the_units_of_each_version() -> None:
    limits = Limits(memory_bytes=1 << 28, cpus=1.5)
    assert settings(limits, unified=True)["cpu"] == {"cpu.max": "150000 100000"}
    assert settings(limits, unified=False)["memory"] == {"memory.limit_in_bytes": str(1 << 28)}


@pytest.mark.parametrize("unified", [True, False])
def test_a_groups_share_of_processors_changes_while_it_is_there(tmp_path: Path, unified: bool) -> None:
    hierarchy = Hierarchy(tmp_path, {}) if unified else Hierarchy(None, {"cpu": tmp_path})
    group = tmp_path / "parent" / "machine"
    group.mkdir(parents=True)
    groups = Cgroups(hierarchy, "parent")
    file = group / ("cpu.max" if unified else "cpu.cfs_quota_us")
    groups.set_cpus("machine", 0.75)
    assert file.read_text().split()[0] == "75000"
    groups.set_cpus("machine", None)
    assert file.read_text().split()[0] == ("max" if unified else "-1")


@pytest.mark.parametrize(
    ("sent", "guest", "received", "expected"),
    [
        (0, 1_000_000, 2_000_000, 0),
        (0, 101_000_000, 2_000_000, -100_000_000),
        (0, -99_000_000, 2_000_000, 100_000_000),
        # A round trip of 200 ms says nothing about an offset of 80 ms.
        (0, 180_000_000, 200_000_000, 0),
    ],
)
def test_a_clock_is_corrected_by_what_is_known_of_its_offset(
    sent: int, guest: int, received: int, expected: int
) -> None:
    assert correction(sent, guest, received) == expected


def test_uids_are_unique_stable_and_given_back(tmp_path: Path) -> None:
    claimed = {name: uids.claim(tmp_path, "abc123", name) for name in ("a", "b", "c")}
    assert len(set(claimed.values())) == 3
    assert uids.claim(tmp_path, "abc123", "a") == claimed["a"]
    first = uids.first_uid("abc123")
    assert all(first <= uid < first + uids.RANGE_SIZE for uid in claimed.values())
    uids.release(tmp_path, "a")
    assert len(list(tmp_path.iterdir())) == 2


def test_a_machines_record_survives_the_agent(tmp_path: Path) -> None:
    state = MachineState(tmp_path / "m", tmp_path / "run" / "m")
    state.create()
    record = MachineRecord(
        "m", "t/n/p", 7, None, ProcessId(1, 2, "boot"), "guest", "10.254.0.1", {"d": Disk(2, 1, None)}
    )
    state.save(record)
    assert state.load() == record


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"id": 1}', "\0"])
def test_a_broken_record_is_a_state_error(tmp_path: Path, content: str) -> None:
    state = MachineState(tmp_path / "m", tmp_path / "run" / "m")
    state.create()
    (state.directory / "machine.json").write_text(content)
    with pytest.raises(StateError):
        state.load()


def test_a_reused_pid_is_not_taken_for_the_machine() -> None:
    own = ProcessId.of(os.getpid())
    assert own.alive()
    assert not ProcessId(own.pid, own.start_time + 1, own.boot_id).alive()
    assert not ProcessId(own.pid, own.start_time, "another boot").alive()
