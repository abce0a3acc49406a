"""`kubectl create` of every kind it knows: what it prints, and what is then there."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from hypernetes.api import times
from hypernetes.pki import PkiDirectory
from tests.integration.clients.commands import Kubectl

# What to create; how the answer and the object are called; a JSONPath into the object, and what is there.
CREATED: list[tuple[str, str, str, str]] = [
    (
        "clusterrole reader --verb=get,list --resource=pods,deployments.apps",
        "clusterrole.rbac.authorization.k8s.io/reader",
        "{.rules}",
        '[{"apiGroups":[""],"resources":["pods"],"verbs":["get","list"]},'
        '{"apiGroups":["apps"],"resources":["deployments"],"verbs":["get","list"]}]',
    ),
    (
        "clusterrole logs --verb=get --non-resource-url=/logs/*",
        "clusterrole.rbac.authorization.k8s.io/logs",
        "{.rules}",
        '[{"nonResourceURLs":["/logs/*"],"verbs":["get"]}]',
    ),
    (
        "clusterrole sum --aggregation-rule=part=yes",
        "clusterrole.rbac.authorization.k8s.io/sum",
        "{.aggregationRule.clusterRoleSelectors}",
        '[{"matchLabels":{"part":"yes"}}]',
    ),
    (
        "clusterrolebinding readers --clusterrole=reader --user=bob --group=devs --serviceaccount=default:builder",
        "clusterrolebinding.rbac.authorization.k8s.io/readers",
        "{.roleRef.name} {.subjects[*].kind} {.subjects[*].name}",
        "reader User Group ServiceAccount bob devs builder",
    ),
    (
        "configmap words --from-literal=colour=red",
        "configmap/words",
        "{.data}",
        '{"colour":"red"}',
    ),
    (
        "cronjob nightly --image=busybox --schedule=0_3_*_*_* --restart=Never -- date -u",
        "cronjob.batch/nightly",
        "{.spec.schedule}|{.spec.jobTemplate.spec.template.spec.containers[0].command}|{.spec.concurrencyPolicy}",
        '0 3 * * *|["date","-u"]|Allow',
    ),
    (
        "deployment web --image=web:1 --replicas=2 --port=80",
        "deployment.apps/web",
        "{.spec.replicas} {.spec.selector.matchLabels} {.spec.template.spec.containers[0].ports[0].containerPort}",
        '2 {"app":"web"} 80',
    ),
    (
        "ingress shop --rule=shop.example.com/buy*=web:80,tls=shop-tls --class=nginx --annotation=a=b",
        "ingress.networking.k8s.io/shop",
        "{.spec.ingressClassName} {.spec.rules[0].host} {.spec.rules[0].http.paths[0].path} {.spec.tls[0].secretName}",
        "nginx shop.example.com /buy shop-tls",
    ),
    (
        "job once --image=busybox -- true",
        "job.batch/once",
        "{.spec.completions} {.spec.backoffLimit} {.spec.template.spec.restartPolicy}",
        "1 6 Never",
    ),
    (
        "job tonight --from=cronjob/nightly",
        "job.batch/tonight",
        "{.metadata.ownerReferences[0].kind} {.metadata.annotations}",
        'CronJob {"cronjob.kubernetes.io/instantiate":"manual"}',
    ),
    (
        "namespace staging",
        "namespace/staging",
        "{.status.phase} {.metadata.labels}",
        'Active {"kubernetes.io/metadata.name":"staging"}',
    ),
    (
        "poddisruptionbudget web --selector=app=web --min-available=50%",
        "poddisruptionbudget.policy/web",
        "{.spec.minAvailable} {.spec.selector.matchLabels}",
        '50% {"app":"web"}',
    ),
    (
        "priorityclass high --value=1000 --description=first --preemption-policy=Never",
        "priorityclass.scheduling.k8s.io/high",
        "{.value} {.description} {.preemptionPolicy}",
        "1000 first Never",
    ),
    (
        "quota small --hard=pods=20,requests.cpu=4,limits.memory=1Gi",
        "resourcequota/small",
        "{.spec.hard}",
        '{"limits.memory":"1Gi","pods":"20","requests.cpu":"4"}',
    ),
    (
        "quota spare --hard=pods=5 --scopes=BestEffort",
        "resourcequota/spare",
        "{.spec.scopes}",
        '["BestEffort"]',
    ),
    (
        "role own --verb=get --verb=update --resource=configmaps --resource-name=words",
        "role.rbac.authorization.k8s.io/own",
        "{.rules}",
        '[{"apiGroups":[""],"resourceNames":["words"],"resources":["configmaps"],"verbs":["get","update"]}]',
    ),
    (
        "rolebinding owners --role=own --group=devs",
        "rolebinding.rbac.authorization.k8s.io/owners",
        "{.roleRef.kind} {.roleRef.name} {.subjects[0].name}",
        "Role own devs",
    ),
    (
        "secret docker-registry pull --docker-server=r.example.com --docker-username=u --docker-password=p",
        "secret/pull",
        "{.type} {.data}",
        'kubernetes.io/dockerconfigjson {".dockerconfigjson":"'
        + base64.b64encode(b'{"auths":{"r.example.com":{"username":"u","password":"p","auth":"dTpw"}}}').decode()
        + '"}',
    ),
    (
        "secret generic key --from-literal=word=sesame",
        "secret/key",
        "{.type} {.data.word}",
        "Opaque c2VzYW1l",
    ),
    (
        "service clusterip web --tcp=80:8080",
        "service/web",
        "{.spec.type} {.spec.ports[0].name} {.spec.ports[0].port} {.spec.ports[0].targetPort} {.spec.selector.app}",
        "ClusterIP 80-8080 80 8080 web",
    ),
    (
        "service clusterip headless --clusterip=None",
        "service/headless",
        "{.spec.clusterIP} {.spec.clusterIPs}",
        'None ["None"]',
    ),
    (
        "service nodeport outside --tcp=80 --node-port=30123",
        "service/outside",
        "{.spec.type} {.spec.ports[0].nodePort}",
        "NodePort 30123",
    ),
    (
        "service loadbalancer public --tcp=443",
        "service/public",
        "{.spec.type} {.spec.allocateLoadBalancerNodePorts}",
        "LoadBalancer true",
    ),
    (
        "service externalname elsewhere --external-name=db.example.com",
        "service/elsewhere",
        "{.spec.type} {.spec.externalName}{.spec.clusterIP}",
        "ExternalName db.example.com",
    ),
    (
        "serviceaccount builder",
        "serviceaccount/builder",
        "{.metadata.namespace}",
        "default",
    ),
]


@pytest.mark.parametrize(("command", "name", "path", "expected"), CREATED, ids=[entry[1] for entry in CREATED])
def test_create_says_what_it_made_and_it_is_there(
    kubectl: Kubectl, command: str, name: str, path: str, expected: str
) -> None:
    arguments = [argument.replace("_", " ") for argument in command.split(" ")]
    assert kubectl("create", *arguments) == f"{name} created\n"
    assert kubectl("get", name, "-o", f"jsonpath={path}") == expected


def test_a_secret_of_a_certificate_and_its_key_is_created(kubectl: Kubectl, tmp_path: Path) -> None:
    pki = PkiDirectory(tmp_path, "test")
    pki.ensure_authority(times.now())
    certificate, key = tmp_path / "ca.crt", tmp_path / "ca.key"
    made = kubectl("create", "secret", "tls", "shop-tls", f"--cert={certificate}", f"--key={key}")
    assert made == "secret/shop-tls created\n"
    data: dict[str, Any] = kubectl.get("secret", "shop-tls")["data"]
    assert {name: base64.b64decode(value) for name, value in data.items()} == {
        "tls.crt": certificate.read_bytes(),
        "tls.key": key.read_bytes(),
    }


def test_a_config_map_is_created_from_files(kubectl: Kubectl, tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text("<p>hello</p>\n")
    (tmp_path / "logo.png").write_bytes(b"\x89PNG\xff\xfe")
    (tmp_path / "settings.env").write_text("LEVEL=debug\nCOLOUR=red\n")
    kubectl(
        "create", "configmap", "site", f"--from-file={tmp_path / 'page.html'}", f"--from-file={tmp_path / 'logo.png'}"
    )
    site = kubectl.get("configmap", "site")
    assert site["data"] == {"page.html": "<p>hello</p>\n"}
    assert base64.b64decode(site["binaryData"]["logo.png"]) == b"\x89PNG\xff\xfe"
    kubectl("create", "configmap", "settings", f"--from-env-file={tmp_path / 'settings.env'}")
    assert kubectl.get("configmap", "settings")["data"] == {"LEVEL": "debug", "COLOUR": "red"}


def test_a_token_is_created_and_known_by_the_api(kubectl: Kubectl) -> None:
    kubectl("create", "serviceaccount", "reader")
    token = kubectl("create", "token", "reader", "--duration=10m").strip()
    claims = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
    assert claims["sub"] == "system:serviceaccount:default:reader"
    assert claims["exp"] - claims["iat"] == 600
    kubeconfig = kubectl.home / "token.kubeconfig"
    kubeconfig.write_text(kubectl("config", "view", "--raw", "--flatten", "--minify"))
    holder = Kubectl(kubeconfig)
    holder("config", "unset", "users")
    holder("config", "set-credentials", "reader", f"--token={token}")
    holder("config", "set-context", "--current", "--user=reader")
    assert 'User "system:serviceaccount:default:reader" cannot list resource "secrets"' in holder.fails(
        "get", "secrets"
    )


def test_what_exists_is_not_created_again(kubectl: Kubectl) -> None:
    kubectl("create", "configmap", "twice")
    complaint = kubectl.fails("create", "configmap", "twice")
    assert complaint == 'error: failed to create configmap: configmaps "twice" already exists\n'


def test_a_dry_run_prints_what_would_be_and_makes_nothing(kubectl: Kubectl) -> None:
    command = ("create", "deployment", "ghost", "--image=x")
    assert kubectl(*command, "--dry-run=server") == "deployment.apps/ghost created (server dry run)\n"
    defaulted = json.loads(kubectl(*command, "--dry-run=server", "-o", "json"))
    assert defaulted["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": "25%", "maxUnavailable": "25%"}
    assert "NotFound" in kubectl.fails("get", "deployment", "ghost")


def test_a_misspelt_field_is_refused_and_warned_of_as_asked(kubectl: Kubectl) -> None:
    manifest = '{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "misspelt"}, "dta": {"a": "b"}}'
    complaint = kubectl.fails("create", "-f", "-", stdin=manifest)
    assert 'strict decoding error: unknown field "dta"' in complaint
    answer = kubectl("create", "-f", "-", "--validate=warn", stdin=manifest)
    assert answer == 'configmap/misspelt created\nWarning: unknown field "dta"\n'
