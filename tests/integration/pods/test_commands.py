"""What a container runs, and with which environment, files and streams."""

import asyncio
import base64

import pytest

from hypernetes.api.models.core_v1 import ConfigMap, Secret, Service
from hypernetes.nodeagent.images.manifests import ImageConfig
from tests.integration.pods.nodes import IMAGE, PATIENCE_SECONDS, Node, pod_of, scripted
from tests.podsupport.marks import shows

pytestmark = pytest.mark.vm


def config_map(name: str, **data: str) -> ConfigMap:
    return ConfigMap.from_dict({"metadata": {"name": name, "namespace": "web"}, "data": data})


def secret(name: str, kind: str = "Opaque", **data: str) -> Secret:
    encoded = {key.replace("__", "."): base64.b64encode(value.encode()).decode() for key, value in data.items()}
    return Secret.from_dict({"metadata": {"name": name, "namespace": "web"}, "type": kind, "data": encoded})


@shows(
    "PodSpec.containers", "Container.name", "Container.image", "Container.command", "Container.args",
    "Container.workingDir", "Container.env", "EnvVar.name", "EnvVar.value",
)  # fmt: skip
async def test_a_container_runs_its_command_where_and_with_what_it_says(node: Node) -> None:
    main = {
        "name": "main",
        "image": IMAGE,
        "command": ["sh", "-c", 'echo "$0 $1 $WORD $(pwd)"; sleep 1000'],
        "args": ["zero", "$(WORD)-$$(WORD)"],
        "workingDir": "/work/here",
        "env": [{"name": "FIRST", "value": "hel"}, {"name": "WORD", "value": "$(FIRST)lo"}],
    }
    async with node.pod({"containers": [main]}) as pod:
        await pod.said("zero hello-$(WORD) hello /work/here\n")


@shows("Container.image")
async def test_an_image_brings_command_user_directory_and_environment(node: Node) -> None:
    node.images.configs["app"] = ImageConfig(
        entrypoint=("sh", "-c"), command=("echo $COLOUR $(pwd) $(id -u) $HOME; sleep 1000",), working_dir="/srv",
        environment={"COLOUR": "blue", "PATH": "/bin"}, user="web",
    )  # fmt: skip
    async with node.pod({"containers": [{"name": "main", "image": "app"}]}) as pod:
        await pod.said("blue /srv 1500 /srv/web\n")


@shows(
    "Container.envFrom", "EnvFromSource.configMapRef", "ConfigMapEnvSource.name", "EnvFromSource.secretRef",
    "SecretEnvSource.name", "EnvFromSource.prefix", "EnvVar.valueFrom", "EnvVarSource.configMapKeyRef",
    "ConfigMapKeySelector.name", "ConfigMapKeySelector.key", "EnvVarSource.secretKeyRef", "SecretKeySelector.name",
    "SecretKeySelector.key", "ConfigMapEnvSource.optional", "SecretEnvSource.optional",
    "ConfigMapKeySelector.optional", "SecretKeySelector.optional",
)  # fmt: skip
async def test_variables_come_from_config_maps_and_secrets(node: Node) -> None:
    node.client.put(config_map("settings", mode="fast", level="3"))
    node.client.put(secret("keys", user="root", word="hush"))
    main = {
        "envFrom": [
            {"configMapRef": {"name": "settings"}, "prefix": "SET_"},
            {"secretRef": {"name": "keys"}},
            {"configMapRef": {"name": "nowhere", "optional": True}},
            {"secretRef": {"name": "nowhere", "optional": True}},
        ],
        "env": [
            {"name": "LEVEL", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "level"}}},
            {"name": "WORD", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "word"}}},
            {"name": "GONE", "valueFrom": {"configMapKeyRef": {"name": "a", "key": "b", "optional": True}}},
            {"name": "LOST", "valueFrom": {"secretKeyRef": {"name": "a", "key": "b", "optional": True}}},
        ],
    }
    async with node.pod(pod_of(main)) as pod:
        told = await pod.sh("echo $SET_mode $SET_level $user $word $LEVEL $WORD; echo ${GONE-unset} ${LOST-unset}")
        assert told == "fast 3 root hush 3 hush\nunset unset\n"


@shows(
    "EnvVarSource.resourceFieldRef", "ResourceFieldSelector.resource", "ResourceFieldSelector.divisor",
    "ResourceFieldSelector.containerName", "ResourceRequirements.requests",
)  # fmt: skip
async def test_variables_come_from_resources(node: Node) -> None:
    sources = {
        "MEMORY": {"resource": "limits.memory", "divisor": "1Mi"},
        "OTHERS": {"resource": "requests.memory", "divisor": "1Mi", "containerName": "other"},
    }
    main = {
        "resources": {"limits": {"memory": "48Mi"}},
        "env": [{"name": name, "valueFrom": {"resourceFieldRef": ref}} for name, ref in sources.items()],
    }
    spec = pod_of(main)
    other = {"name": "other", "image": IMAGE, "command": ["sleep", "1000"]}
    spec["containers"].append({**other, "resources": {"requests": {"memory": "16Mi"}}})
    async with node.pod(spec) as pod:
        assert await pod.sh("echo $MEMORY $OTHERS") == "48 16\n"


@shows(
    "EnvVarSource.fileKeyRef", "FileKeySelector.volumeName", "FileKeySelector.path", "FileKeySelector.key",
    "FileKeySelector.optional", "PodSpec.initContainers",
)  # fmt: skip
async def test_variables_come_from_a_file_that_an_init_container_left(node: Node) -> None:
    mounts = [{"name": "shared", "mountPath": "/shared"}]
    init = scripted(r"mkdir /shared/d; printf \"# made\nTOKEN='a b'\nPLAIN=x\n\" > /shared/d/env", name="init")
    ref = {"volumeName": "shared", "path": "d/env"}
    main = {
        "env": [
            {"name": "TOKEN", "valueFrom": {"fileKeyRef": {**ref, "key": "TOKEN"}}},
            {"name": "NONE", "valueFrom": {"fileKeyRef": {**ref, "key": "NONE", "optional": True}}},
        ]
    }
    init["command"][2] = "mkdir /shared/d; printf \"# made\\nTOKEN='a b'\\nPLAIN=x\\n\" > /shared/d/env"
    spec = pod_of(main, initContainers=[{**init, "volumeMounts": mounts}], volumes=[{"name": "shared", "emptyDir": {}}])
    async with node.pod(spec) as pod:
        assert await pod.sh("echo $TOKEN ${NONE-unset}") == "a b unset\n"


@shows("PodSpec.enableServiceLinks")
async def test_services_are_no_variables_where_the_pod_doesnt_want_them(node: Node) -> None:
    body = {
        "metadata": {"name": "shop", "namespace": "web"},
        "spec": {"clusterIP": "10.254.0.9", "ports": [{"port": 80}]},
    }
    node.views.of_services.append(Service.from_dict(body))
    async with node.pod(pod_of(enableServiceLinks=False)) as pod:
        assert await pod.sh("echo ${SHOP_SERVICE_HOST-unset}") == "unset\n"


@shows("Container.tty")
async def test_a_container_has_a_terminal(node: Node) -> None:
    async with node.pod(pod_of({"tty": True, "command": ["sh", "-c", "tty; sleep 1000"]})) as pod:
        await pod.said("/dev/pts/0")


@shows("Container.stdin", "Container.stdinOnce")
async def test_input_ends_with_the_first_client(node: Node) -> None:
    main = {"stdin": True, "stdinOnce": True, "command": ["sh", "-c", "read word; echo got $word; cat; echo end"]}
    async with node.pod(pod_of(main, restartPolicy="Never")) as pod:
        await pod.runs()
        machine = pod.worker.machine
        assert machine is not None
        process = await machine.attach(pod.worker.record.containers["main"].id)
        await process.stdin.write(b"it\n")
        await process.stdin.close_write()
        await pod.said("got it\nend\n")


@shows("Container.imagePullPolicy")
async def test_an_image_that_is_there_is_not_pulled_again_where_the_pod_says_so(node: Node) -> None:
    # Without a policy an image without a tag is.
    spec = pod_of({"imagePullPolicy": "IfNotPresent"})
    for name in ("first", "second"):
        async with node.pod(spec, name=name) as pod:
            await pod.runs()
    assert [name for name, _ in node.images.pulls] == [IMAGE]


@shows("PodSpec.imagePullSecrets", "LocalObjectReference.name")
async def test_a_private_image_is_pulled_with_the_pods_secret(node: Node) -> None:
    name = "registry.example/private"
    node.images.configs[name] = ImageConfig(entrypoint=("sh",))
    node.images.private.add(name)
    auths = '{"auths":{"registry.example":{"username":"u","password":"p"}}}'
    node.client.put(secret("pull", "kubernetes.io/dockerconfigjson", __dockerconfigjson=auths))
    async with node.pod(pod_of({"image": name}, imagePullSecrets=[{"name": "pull"}])) as pod:
        await pod.runs()


@shows("PodSpec.ephemeralContainers", "EphemeralContainer.targetContainerName")
async def test_a_container_added_to_a_running_pod_sees_its_targets_processes(node: Node) -> None:
    async with node.pod(pod_of()) as pod:
        await pod.runs()
        debug = {
            "name": "debug", "image": IMAGE, "command": ["sh", "-c", "ps; echo done"], "targetContainerName": "main",
        }  # fmt: skip
        pod.change(lambda body: body["spec"].update(ephemeralContainers=[debug]))
        await pod.until(lambda: "debug" in pod.worker.record.containers, "it is not noticed")
        await pod.said("done", "debug")
        assert "sleep 1000" in pod.log("debug")
        async with asyncio.timeout(PATIENCE_SECONDS):
            await pod.until(lambda: pod.container("debug").state.terminated, "it doesn't end")  # type: ignore[union-attr]
        assert pod.container("debug").restart_count == 0
        assert pod.status.phase == "Running"
