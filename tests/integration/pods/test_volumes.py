"""What a pod's containers find at their mount points."""

import pytest

from hypernetes.nodeagent.images.manifests import ImageConfig
from tests.integration.pods.nodes import Node, pod_of, scripted
from tests.integration.pods.test_commands import config_map, secret
from tests.podsupport.marks import shows

pytestmark = pytest.mark.vm


def mount(name: str, path: str, **more: object) -> dict[str, object]:
    return {"name": name, "mountPath": path, **more}


@shows(
    "PodSpec.volumes", "Volume.name", "Volume.configMap", "ConfigMapVolumeSource.name", "ConfigMapVolumeSource.items",
    "ConfigMapVolumeSource.defaultMode", "KeyToPath.key", "KeyToPath.path", "KeyToPath.mode", "Volume.secret",
    "SecretVolumeSource.secretName", "SecretVolumeSource.items", "SecretVolumeSource.defaultMode",
    "Container.volumeMounts", "VolumeMount.name", "VolumeMount.mountPath", "ConfigMapVolumeSource.optional",
    "SecretVolumeSource.optional",
)  # fmt: skip
async def test_config_maps_and_secrets_are_files(node: Node) -> None:
    node.client.put(config_map("settings", a="1", b="2", c="3"))
    node.client.put(secret("keys", user="root", word="hush"))
    items = [{"key": "a", "path": "deep/one"}, {"key": "b", "path": "two", "mode": 0o640}]
    volumes = [
        {"name": "conf", "configMap": {"name": "settings", "items": items, "defaultMode": 0o604}},
        {
            "name": "keys",
            "secret": {"secretName": "keys", "items": [{"key": "word", "path": "w"}], "defaultMode": 0o400},
        },
        {"name": "maybe", "configMap": {"name": "nowhere", "optional": True}},
        {"name": "perhaps", "secret": {"secretName": "nowhere", "optional": True}},
    ]
    mounts = [mount("conf", "/conf"), mount("keys", "/keys"), mount("maybe", "/maybe"), mount("perhaps", "/perhaps")]
    async with node.pod(pod_of({"volumeMounts": mounts}, volumes=volumes)) as pod:
        assert (await pod.sh("cd /conf; cat deep/one two; ls; cat /keys/w; ls /keys /maybe /perhaps")) == (
            "12deep\ntwo\nhush/keys:\nw\n\n/maybe:\n\n/perhaps:\n"
        )
        modes = (await pod.sh("stat -L -c %a /conf/deep/one /conf/two /keys/w")).split()
        assert modes == ["604", "640", "400"]


async def test_a_changed_config_map_reaches_the_running_pod_within_10_s_and_at_once(node: Node) -> None:
    node.client.put(config_map("settings", a="1", b="1"))
    spec = pod_of(
        {"volumeMounts": [mount("conf", "/conf")]}, volumes=[{"name": "conf", "configMap": {"name": "settings"}}]
    )
    async with node.pod(spec) as pod:
        await pod.ready()
        # What is read through one `..data` is always of one version; it may be gone while one reads.
        watch = """
            deadline=$(( $(date +%s) + 10 ))
            while [ $(date +%s) -le $deadline ]; do
                d=$(readlink -f /conf/..data); both=$(cat $d/a $d/b 2>/dev/null) && echo $both
                [ "$both" = 22 ] && break; sleep 0.1
            done
        """
        node.client.put(config_map("settings", a="2", b="2"))
        assert set((await pod.sh(watch)).split()) == {"11", "22"}


@shows(
    "Volume.projected", "ProjectedVolumeSource.sources", "ProjectedVolumeSource.defaultMode",
    "VolumeProjection.configMap", "ConfigMapProjection.name", "ConfigMapProjection.items",
    "ConfigMapProjection.optional", "VolumeProjection.secret", "SecretProjection.name", "SecretProjection.items",
    "SecretProjection.optional", "VolumeProjection.downwardAPI", "DownwardAPIProjection.items",
    "VolumeProjection.serviceAccountToken", "ServiceAccountTokenProjection.path",
    "ServiceAccountTokenProjection.audience", "ServiceAccountTokenProjection.expirationSeconds",
    "PodSpec.serviceAccountName",
)  # fmt: skip
async def test_a_projected_volume_holds_all_of_its_sources(node: Node) -> None:
    node.client.put(config_map("settings", a="1", b="2"))
    node.client.put(secret("keys", user="root", word="hush"))
    sources = [
        {"configMap": {"name": "settings", "items": [{"key": "a", "path": "one"}]}},
        {"configMap": {"name": "nowhere", "optional": True}},
        {"secret": {"name": "keys", "items": [{"key": "word", "path": "w"}]}},
        {"secret": {"name": "nowhere", "optional": True}},
        {"downwardAPI": {"items": [{"path": "name", "fieldRef": {"fieldPath": "metadata.name"}}]}},
        {"serviceAccountToken": {"path": "token", "audience": "shop", "expirationSeconds": 1200}},
    ]
    volumes = [{"name": "all", "projected": {"sources": sources, "defaultMode": 0o440}}]
    spec = pod_of({"volumeMounts": [mount("all", "/all")]}, volumes=volumes, serviceAccountName="robot")
    async with node.pod(spec) as pod:
        told = await pod.sh("cd /all; ls; for file in *; do echo $(cat $file) $(stat -L -c %a $file); done")
        assert told.split("\n") == [
            "name", "one", "token", "w", "app 440", "1 440", "robot.shop.1200 440", "hush 440", "",
        ]  # fmt: skip


@shows(
    "Volume.downwardAPI", "DownwardAPIVolumeSource.items", "DownwardAPIVolumeSource.defaultMode",
    "DownwardAPIVolumeFile.path", "DownwardAPIVolumeFile.fieldRef", "DownwardAPIVolumeFile.mode",
    "DownwardAPIVolumeFile.resourceFieldRef", "ObjectFieldSelector.fieldPath",
)  # fmt: skip
async def test_a_pod_knows_itself_by_files_that_follow_it(node: Node) -> None:
    items = [
        {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}, "mode": 0o600},
        {"path": "memory", "resourceFieldRef": {"containerName": "main", "resource": "limits.memory"}},
    ]
    main = {"volumeMounts": [mount("self", "/self")], "resources": {"limits": {"memory": "48Mi"}}}
    spec = pod_of(main, volumes=[{"name": "self", "downwardAPI": {"items": items, "defaultMode": 0o444}}])
    async with node.pod(spec, labels={"tier": "front"}) as pod:
        told = await pod.sh("cd /self; cat labels; echo; cat memory; echo; stat -L -c %a labels memory")
        assert told == f'tier="front"\n{48 << 20}\n600\n444\n'
        pod.change(lambda body: body["metadata"]["labels"].update(tier="back"))

        async def follows() -> None:
            assert await pod.sh("cat /self/labels") == 'tier="back"'

        await pod.until_not_failing(follows, "the labels' file doesn't follow")


@shows(
    "Volume.emptyDir", "EmptyDirVolumeSource.medium", "EmptyDirVolumeSource.sizeLimit", "VolumeMount.readOnly",
    "VolumeMount.subPath", "VolumeMount.subPathExpr", "PodSecurityContext.fsGroup",
)  # fmt: skip
async def test_empty_directories_are_shared_of_a_size_and_owned(node: Node) -> None:
    volumes = [
        {"name": "disk", "emptyDir": {}},
        {"name": "memory", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
    ]
    env = [{"name": "WHO", "value": "me"}]
    main = {
        "env": env,
        "volumeMounts": [
            mount("disk", "/disk"), mount("disk", "/read", readOnly=True), mount("disk", "/part", subPath="some/part"),
            mount("disk", "/mine", subPathExpr="of-$(WHO)"), mount("memory", "/memory"),
        ],
    }  # fmt: skip
    async with node.pod(pod_of(main, volumes=volumes, securityContext={"fsGroup": 4000, "runAsUser": 1000})) as pod:
        await pod.sh("echo x > /disk/file; echo y > /part/file; echo z > /mine/file")
        assert await pod.sh("cat /read/file /disk/some/part/file /disk/of-me/file") == "x\ny\nz\n"
        assert (await pod.try_sh("touch /read/other"))[1] != 0
        assert (await pod.sh("stat -c %g /disk/file; stat -f -c %T /disk /memory")).split() == [
            "4000", "ext2/ext3", "tmpfs",
        ]  # fmt: skip
        text, code = await pod.try_sh("dd if=/dev/zero of=/memory/big bs=1M count=2")
        assert code != 0
        assert "No space left" in text


async def test_a_group_may_read_what_its_mode_keeps_from_all_but_root(node: Node) -> None:
    node.client.put(secret("keys", word="hush"))
    volumes = [{"name": "keys", "secret": {"secretName": "keys", "defaultMode": 0o400}}]
    context = {"fsGroup": 4000, "runAsUser": 1000}
    spec = pod_of({"volumeMounts": [mount("keys", "/keys")]}, volumes=volumes, securityContext=context)
    async with node.pod(spec) as pod:
        assert await pod.sh("cat /keys/word") == "hush"


@shows("Volume.image", "ImageVolumeSource.reference", "ImageVolumeSource.pullPolicy")
async def test_an_image_is_a_volume_that_nobody_can_write_or_run(node: Node) -> None:
    node.images.configs["data"] = ImageConfig()
    spec = pod_of(
        {"volumeMounts": [mount("data", "/data")]},
        volumes=[{"name": "data", "image": {"reference": "data", "pullPolicy": "IfNotPresent"}}],
    )
    for name in ("first", "second"):
        async with node.pod(spec, name=name) as pod:
            assert "root:x:0:0" in await pod.sh("cat /data/etc/passwd")
            assert (await pod.try_sh("touch /data/file"))[1] != 0
            assert (await pod.try_sh("/data/bin/busybox true"))[1] != 0
    assert [each for each, _ in node.images.pulls].count("data") == 1


@shows("VolumeMount.mountPropagation", "VolumeMount.recursiveReadOnly")
async def test_what_a_container_mounts_in_a_volume_reaches_those_that_want_it(node: Node) -> None:
    privileged = {"securityContext": {"privileged": True}}
    maker = scripted(
        "mkdir -p /v/m && mount -t tmpfs x /v/m && touch /v/m/made && sleep 1000", name="maker", **privileged,
        volumeMounts=[mount("v", "/v", mountPropagation="Bidirectional")],
    )  # fmt: skip
    spec = pod_of(
        {
            "volumeMounts": [
                mount("v", "/v", mountPropagation="HostToContainer"), mount("v", "/private"),
            ]
        },
        initContainers=[{**maker, "restartPolicy": "Always", "startupProbe": {
            "exec": {"command": ["test", "-e", "/v/m/made"]}, "periodSeconds": 1}}],
        volumes=[{"name": "v", "emptyDir": {}}],
    )  # fmt: skip
    later = scripted(
        "mkdir -p /v/n && mount -t tmpfs x /v/n && touch /v/n/late && sleep 1000", name="later", **privileged
    )
    later["volumeMounts"] = [mount("v", "/v", mountPropagation="Bidirectional")]
    reader = scripted("sleep 1000", name="reader")
    reader["volumeMounts"] = [
        mount("v", "/deep", readOnly=True, recursiveReadOnly="Enabled"),
        mount("v", "/flat", readOnly=True),
    ]
    spec["containers"] += [reader]
    async with node.pod(spec) as pod:
        await pod.runs("main", "reader")
        pod.change(lambda body: body["spec"].update(ephemeralContainers=[later]))
        await pod.until(lambda: "later" in pod.worker.record.containers, "it is not noticed")

        async def seen() -> None:
            await pod.sh("test -e /v/n/late")

        await pod.until_not_failing(seen, "a later mount is not seen")
        assert (await pod.try_sh("test -e /private/n/late"))[1] != 0
        assert (await pod.try_sh("touch /deep/m/more", "reader"))[1] != 0
        await pod.sh("touch /flat/m/more", "reader")
