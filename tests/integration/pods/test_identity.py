"""Who a pod's containers are: names, addresses, users, rights."""

import json

import pytest

from hypernetes.nodeagent.images.manifests import ImageConfig
from tests.integration.pods.nodes import HOST_IP, Node, pod_of
from tests.podsupport.marks import shows

pytestmark = pytest.mark.vm


@shows(
    "PodSpec.hostname", "PodSpec.subdomain", "PodSpec.setHostnameAsFQDN", "PodSpec.hostAliases", "HostAlias.ip",
    "HostAlias.hostnames", "PodSpec.dnsConfig", "PodDNSConfig.nameservers", "PodDNSConfig.searches",
    "PodDNSConfig.options", "PodDNSConfigOption.name", "PodDNSConfigOption.value", "PodSpec.dnsPolicy",
)  # fmt: skip
async def test_a_pod_has_the_names_it_asks_for(node: Node) -> None:
    config = {
        "nameservers": ["192.0.2.53"], "searches": ["shop.example"], "options": [{"name": "ndots", "value": "3"}],
    }  # fmt: skip
    spec = pod_of(
        hostname="one", subdomain="sub", setHostnameAsFQDN=True, dnsPolicy="None", dnsConfig=config,
        hostAliases=[{"ip": "192.0.2.7", "hostnames": ["db", "db.example"]}],
    )  # fmt: skip
    async with node.pod(spec) as pod:
        assert (await pod.sh("hostname; cat /etc/hostname")).split() == ["one.sub.web.svc.cluster.local"] * 2
        hosts = await pod.sh("cat /etc/hosts")
        assert f"{pod.status.pod_ip}\tone.sub.web.svc.cluster.local\tone\n" in hosts
        assert "192.0.2.7\tdb\tdb.example\n" in hosts
        resolv = await pod.sh("cat /etc/resolv.conf")
        assert resolv == "search shop.example\nnameserver 192.0.2.53\noptions ndots:3\n"


@shows("PodSpec.hostnameOverride")
async def test_a_pods_own_idea_of_its_name_wins(node: Node) -> None:
    async with node.pod(pod_of(hostnameOverride="chosen.example")) as pod:
        assert await pod.sh("hostname") == "chosen.example\n"


@shows("PodSecurityContext.sysctls", "Sysctl.name", "Sysctl.value", "PodSpec.securityContext")
async def test_sysctls_are_set_before_the_containers(node: Node) -> None:
    sysctls = [{"name": "net.core.somaxconn", "value": "1234"}, {"name": "kernel.shm_rmid_forced", "value": "1"}]
    async with node.pod(pod_of(securityContext={"sysctls": sysctls})) as pod:
        assert (await pod.sh("cat /proc/sys/net/core/somaxconn /proc/sys/kernel/shm_rmid_forced")).split() == [
            "1234",
            "1",
        ]


@shows(
    "PodSecurityContext.runAsUser", "PodSecurityContext.runAsGroup", "PodSecurityContext.supplementalGroups",
    "SecurityContext.runAsUser", "SecurityContext.runAsGroup", "Container.securityContext",
)  # fmt: skip
async def test_users_and_groups_are_the_containers_or_else_the_pods(node: Node) -> None:
    spec = pod_of(securityContext={"runAsUser": 2000, "runAsGroup": 2001, "supplementalGroups": [2002]})
    own = {"securityContext": {"runAsUser": 3000, "runAsGroup": 3001}, "name": "other"}
    spec["containers"].append({**spec["containers"][0], **own})
    async with node.pod(spec) as pod:
        assert (await pod.sh("id -u; id -g; id -G")).split() == ["2000", "2001", "2001", "2002"]
        assert (await pod.sh("id -u; id -g; id -G", "other")).split() == ["3000", "3001", "3001", "2002"]


@shows("PodSecurityContext.supplementalGroupsPolicy")
async def test_the_images_own_groups_are_left_out_where_the_pod_says_so(node: Node) -> None:
    node.images.configs["web"] = ImageConfig(user="web")
    spec = pod_of({"image": "web"}, securityContext={"supplementalGroupsPolicy": "Strict"})
    async with node.pod(spec) as pod:
        assert (await pod.sh("id -u; id -G")).split() == ["1500", "1501"]
    node.images.configs["web"] = ImageConfig(user="web")
    async with node.pod(pod_of({"image": "web"}), name="merge") as pod:
        assert (await pod.sh("id -G")).split() == ["1501", "1502"]


@shows("SecurityContext.runAsNonRoot")
async def test_a_container_that_must_not_be_root_does_not_start_as_root(node: Node) -> None:
    async with node.pod(pod_of({"securityContext": {"runAsNonRoot": True}})) as pod:
        await pod.until(lambda: pod.waiting() == "CreateContainerConfigError", "it started")


@shows("PodSecurityContext.runAsNonRoot")
async def test_no_container_of_a_pod_that_must_not_be_root_starts_as_root(node: Node) -> None:
    async with node.pod(pod_of(securityContext={"runAsNonRoot": True})) as pod:
        await pod.until(lambda: pod.waiting() == "CreateContainerConfigError", "it started")


@shows(
    "SecurityContext.capabilities", "Capabilities.add", "Capabilities.drop", "SecurityContext.readOnlyRootFilesystem",
    "SecurityContext.allowPrivilegeEscalation",
)  # fmt: skip
async def test_rights_are_taken_and_given(node: Node) -> None:
    context = {
        "capabilities": {"drop": ["CHOWN"], "add": ["NET_ADMIN"]}, "readOnlyRootFilesystem": True,
        "allowPrivilegeEscalation": False,
    }  # fmt: skip
    async with node.pod(pod_of({"securityContext": context})) as pod:
        assert (await pod.try_sh("chown 1 /dev/shm"))[1] != 0
        await pod.sh("ip link set lo mtu 1400")
        assert (await pod.try_sh("touch /file"))[1] != 0
        assert "NoNewPrivs:\t1" in await pod.sh("cat /proc/self/status")


@shows("SecurityContext.privileged")
async def test_a_privileged_container_may_do_anything_in_its_machine(node: Node) -> None:
    async with node.pod(pod_of({"securityContext": {"privileged": True}})) as pod:
        await pod.sh("mount -t tmpfs x /tmp && echo 0 > /proc/sys/kernel/randomize_va_space && ls /dev/sda")


@shows("SecurityContext.procMount")
async def test_an_unmasked_proc_may_be_written(node: Node) -> None:
    async with node.pod(
        pod_of({"securityContext": {"procMount": "Unmasked", "capabilities": {"add": ["NET_ADMIN"]}}})
    ) as pod:
        await pod.sh("echo 1 > /proc/sys/net/ipv4/ip_forward")


@shows("SecurityContext.seccompProfile", "SeccompProfile.type")
async def test_the_runtimes_own_seccomp_profile_keeps_calls_away_that_no_right_does(node: Node) -> None:
    context = {"seccompProfile": {"type": "RuntimeDefault"}, "capabilities": {"add": ["SYS_ADMIN"]}}
    async with node.pod(pod_of({"securityContext": context})) as pod:
        # With SYS_ADMIN mount(2) is allowed, settimeofday(2) isn't whatever the capability.
        assert "Seccomp:\t2" in await pod.sh("cat /proc/self/status; mount -t tmpfs x /tmp")
    context = {"seccompProfile": {"type": "RuntimeDefault"}}
    async with node.pod(pod_of({"securityContext": context}), name="plain") as pod:
        text, code = await pod.try_sh("unshare -U true")
        assert code != 0, text
        assert "Operation not permitted" in text


@shows("PodSecurityContext.seccompProfile", "SeccompProfile.localhostProfile")
async def test_a_seccomp_profile_of_the_nodes_is_used(node: Node) -> None:
    rule = {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28}
    node.seccomp_profiles.mkdir()
    (node.seccomp_profiles / "no-mkdir.json").write_text(
        json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]})
    )
    profile = {"type": "Localhost", "localhostProfile": "no-mkdir.json"}
    async with node.pod(pod_of(securityContext={"seccompProfile": profile, "runAsUser": 0})) as pod:
        text, code = await pod.try_sh("mkdir /made")
        assert code != 0
        assert "No space left on device" in text


@shows("PodSpec.shareProcessNamespace")
async def test_containers_see_each_others_processes_where_the_pod_says_so(node: Node) -> None:
    spec = pod_of(shareProcessNamespace=True)
    spec["containers"].append({**spec["containers"][0], "name": "other", "command": ["sleep", "4321"]})
    async with node.pod(spec) as pod:
        await pod.runs("other")
        assert "sleep 4321" in await pod.sh("ps")


@shows("EnvVarSource.fieldRef", "ObjectFieldSelector.fieldPath", "PodSpec.serviceAccountName")
async def test_a_pod_knows_itself_by_its_environment(node: Node) -> None:
    paths = {
        "NAME": "metadata.name", "IP": "status.podIP", "HOST": "status.hostIP", "NODE": "spec.nodeName",
        "ACCOUNT": "spec.serviceAccountName", "TIER": "metadata.labels['tier']",
    }  # fmt: skip
    env = [{"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}} for name, path in paths.items()]
    async with node.pod(pod_of({"env": env}, serviceAccountName="robot"), labels={"tier": "front"}) as pod:
        told = await pod.sh("echo $NAME $IP $HOST $NODE $ACCOUNT $TIER")
        assert told.split() == ["app", pod.status.pod_ip, HOST_IP, "n1", "robot", "front"]
