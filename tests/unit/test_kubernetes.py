"""deploy/kubernetes is what the code needs; whatever is not is told by name."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from shared.services import SERVICES
from tests.chaos.upgrade import ORDER
from tests.kubernetes import network, platform, schemas, workloads
from tests.kubernetes.__main__ import BASE, FOLDER, held_to_the_code
from tests.kubernetes.kustomize import LOADER, CannotBuild, Manifest, build, name_of
from tests.kubernetes.objects import Objects, object_name

INSTALLED = FOLDER.parents[1] / "docs" / "kubernetes.md"
PRODUCTION = FOLDER / "overlays" / "production"
NEWEST = "1.37"
Look = Callable[[Objects], Iterator[str]]
Change = Callable[[Objects], object]


def found(objects: Objects, kind: str, name: str) -> Manifest:
    """The object of that name."""
    manifest = objects.find(kind, name)
    assert manifest is not None
    return manifest


def spec(objects: Objects, name: str) -> dict[str, Any]:
    """What a Deployment's pod is made of."""
    pod: dict[str, Any] = found(objects, "Deployment", name)["spec"]["template"]["spec"]
    return pod


def container(objects: Objects, name: str) -> dict[str, Any]:
    """The container of a Deployment's pod."""
    (only,) = spec(objects, name)["containers"]
    made: dict[str, Any] = only
    return made


def labels(objects: Objects, name: str) -> dict[str, Any]:
    """The labels of a Deployment's pod."""
    made: dict[str, Any] = found(objects, "Deployment", name)["spec"]["template"]["metadata"]["labels"]
    return made


def settings(objects: Objects, name: str) -> dict[str, str]:
    """What a ConfigMap says."""
    data: dict[str, str] = found(objects, "ConfigMap", name)["data"]
    return data


def policy(objects: Objects, name: str) -> dict[str, Any]:
    """What a NetworkPolicy allows."""
    said: dict[str, Any] = found(objects, "NetworkPolicy", name)["spec"]
    return said


def without(objects: Objects, kind: str, name: str) -> None:
    """Takes one object away."""
    objects.manifests = [each for each in objects.manifests if name_of(each) != f"{kind}/{name}"]


@pytest.mark.parametrize("folder", [BASE, PRODUCTION], ids=lambda each: each.name)
def test_what_is_there_is_what_the_code_needs(folder: Path) -> None:
    """As `make kubernetes` says."""
    assert list(held_to_the_code(build(folder))) == []


def test_the_newest_kubernetes_takes_each_kind() -> None:
    """`make kubernetes` asks the oldest one about every object."""
    kinds = {each["kind"]: each for each in build(PRODUCTION)}
    assert list(schemas.faults(list(kinds.values()), NEWEST)) == []


def kubectl(*words: str | Path) -> str:
    """What it says; skips the test where it is missing."""
    if shutil.which("kubectl") is None:
        pytest.skip("there is no kubectl to compare with")
    asked = subprocess.run(["kubectl", *words], check=True, capture_output=True, text=True, timeout=30)
    return asked.stdout


@pytest.mark.parametrize("folder", [BASE, PRODUCTION], ids=lambda each: each.name)
def test_kustomize_builds_the_same(folder: Path) -> None:
    """What is looked at here is what a cluster gets."""
    version = json.loads(kubectl("version", "--client", "--output", "json")).get("kustomizeVersion", "none")
    if not version.startswith("v5."):
        pytest.skip(f"kubectl has kustomize {version}, and not 5")
    theirs = {name_of(each): each for each in yaml.load_all(kubectl("kustomize", folder), LOADER)}
    assert {name_of(each): each for each in build(folder)} == theirs


PLANTED: list[tuple[str, Look, Change, str]] = [
    (
        "a missing service",
        workloads.faults,
        lambda built: without(built, "Deployment", "ledger"),
        "ledger: it has no Deployment",
    ),
    (
        "a service that does not exist",
        workloads.faults,
        lambda built: found(built, "Deployment", "ledger")["metadata"].update(name="leger"),
        "leger: it is no service of the registry",
    ),
    (
        "a wrong port of the container",
        workloads.faults,
        lambda built: container(built, "accounts")["ports"][0].update(containerPort=8102),
        "accounts: its ports are {'http': 8101, 'operations': 9103}",
    ),
    (
        "a port that it does not listen on",
        workloads.faults,
        lambda built: settings(built, "accounts").update(ACCOUNTS_PORT="8102"),
        "accounts: ACCOUNTS_PORT is 8101",
    ),
    (
        "a port on loopback",
        workloads.faults,
        lambda built: settings(built, "notifier").pop("NOTIFIER_OPS_HOST"),
        "notifier: NOTIFIER_OPS_HOST is 0.0.0.0",
    ),
    (
        "a setting that is not read",
        workloads.faults,
        lambda built: settings(built, "catalogue").update(CATALOGUE_AUHT="required"),
        "catalogue: no service reads CATALOGUE_AUHT",
    ),
    (
        "a value that a setting does not take",
        workloads.faults,
        lambda built: settings(built, "pipeline").update(PAYMENTS="on"),
        "notifier: PAYMENTS: Input should be 'off' or 'simulated'",
    ),
    (
        "a required setting that is not set",
        workloads.faults,
        lambda built: settings(built, "api-gateway").pop("GATEWAY_AUTH"),
        "api-gateway: GATEWAY_AUTH must be set where GATEWAY_HOST is not loopback",
    ),
    (
        "a store that it is not told of",
        workloads.faults,
        lambda built: container(built, "ledger")["env"].pop(),
        "ledger: DATABASE_URL must be set",
    ),
    (
        "a neighbour that it is not told of",
        workloads.faults,
        lambda built: settings(built, "ledger").pop("LEDGER_ACCOUNTS_URL"),
        "ledger: LEDGER_ACCOUNTS_URL must be set",
    ),
    (
        "another program",
        workloads.faults,
        lambda built: container(built, "notifier").update(command=["python", "-m", "ledger"]),
        "notifier: its command is python -m notifier",
    ),
    (
        "another image",
        workloads.faults,
        lambda built: container(built, "notifier").update(image="nginx:1"),
        "notifier: nginx:1 is not the pipeline's image",
    ),
    (
        "a probe on a path that does not exist",
        workloads.faults,
        lambda built: container(built, "notifier")["livenessProbe"]["httpGet"].update(path="/alive"),
        "notifier: its livenessProbe asks for /alive, which is not served",
    ),
    (
        "a restart because a broker is away",
        workloads.faults,
        lambda built: container(built, "notifier")["livenessProbe"]["httpGet"].update(path="/readyz"),
        "notifier: its livenessProbe asks for /livez",
    ),
    (
        "a grace period below the drain",
        workloads.faults,
        lambda built: spec(built, "order-processor").update(terminationGracePeriodSeconds=20),
        "order-processor: terminationGracePeriodSeconds is 20: preStop, drain and ending take 25",
    ),
    (
        "a drain beyond the grace period",
        workloads.faults,
        lambda built: settings(built, "accounts").update(ACCOUNTS_DRAIN_SECONDS="60"),
        "accounts: terminationGracePeriodSeconds is 35: preStop, drain and ending take 70",
    ),
    (
        "clients that are sent to a port that is closed",
        workloads.faults,
        lambda built: container(built, "ledger").pop("lifecycle"),
        "ledger: a preStop sleep is what has a port for clients, and nothing else",
    ),
    (
        "a privileged container",
        workloads.faults,
        lambda built: container(built, "ledger")["securityContext"].update(privileged=True),
        "ledger: it is privileged",
    ),
    (
        "a container that runs as root",
        workloads.faults,
        lambda built: spec(built, "ledger")["securityContext"].pop("runAsNonRoot"),
        "ledger: it runs as root",
    ),
    (
        "a container with capabilities",
        workloads.faults,
        lambda built: container(built, "ledger")["securityContext"].pop("capabilities"),
        "ledger: it keeps capabilities",
    ),
    (
        "a Service's address in the place of a setting",
        workloads.faults,
        lambda built: spec(built, "ledger").pop("enableServiceLinks"),
        "ledger: Services set variables of it",
    ),
    (
        "a container without a bound on memory",
        workloads.faults,
        lambda built: container(built, "ledger")["resources"].pop("limits"),
        "ledger: it limits no memory",
    ),
    (
        "a secret in the clear",
        workloads.faults,
        lambda built: settings(built, "dashboard").update(DASHBOARD_TOKEN="0123456789abcdef"),
        "dashboard: DASHBOARD_TOKEN is written in the clear",
    ),
    (
        "a password in the clear",
        workloads.faults,
        lambda built: settings(built, "accounts").update(REDIS_URL="redis://accounts:pipeline@redis:6379/0"),
        "accounts: REDIS_URL has a password in the clear",
    ),
    (
        "a Secret in the repository",
        workloads.faults,
        lambda built: built.manifests.append({"kind": "Secret", "metadata": {"name": "accounts"}}),
        "Secret/accounts: no secret stands in the repository",
    ),
    (
        "a service that nothing shields",
        platform.faults,
        lambda built: without(built, "PodDisruptionBudget", "accounts"),
        "accounts: it has no PodDisruptionBudget",
    ),
    (
        "a wrong port of a Service",
        platform.faults,
        lambda built: found(built, "Service", "catalogue")["spec"]["ports"][0].update(port=8101),
        "catalogue: it has no Service catalogue on port 8102",
    ),
    (
        "replicas that end before others are ready",
        platform.faults,
        lambda built: found(built, "Deployment", "accounts")["spec"].update(strategy={"type": "Recreate"}),
        "accounts: an upgrade takes replicas away before there are others",
    ),
    (
        "replicas on one node",
        platform.faults,
        lambda built: spec(built, "accounts").pop("topologySpreadConstraints"),
        "accounts: it is not spread over nodes and zones",
    ),
    (
        "one replica only",
        platform.faults,
        lambda built: found(built, "ScaledObject", "notifier")["spec"].update(minReplicaCount=1),
        "notifier: 1 is not how many of it are to run at least",
    ),
    (
        "a service that the dashboard does not watch",
        platform.faults,
        lambda built: settings(built, "dashboard").update(DASHBOARD_SERVICE_URLS="notifier=http://notifier"),
        "dashboard: DASHBOARD_SERVICE_URLS has no ledger",
    ),
    (
        "a name under which the gateway does not answer",
        platform.faults,
        lambda built: found(built, "HTTPRoute", "api-gateway")["spec"].update(hostnames=["www.shop.example"]),
        "HTTPRoute/api-gateway: GATEWAY_ALLOWED_HOSTS must have www.shop.example",
    ),
    (
        "a route to a port where nothing listens",
        platform.faults,
        lambda built: found(built, "HTTPRoute", "dashboard")["spec"]["rules"][0]["backendRefs"][0].update(
            port=9000
        ),
        "HTTPRoute/dashboard: nothing answers clients at dashboard:9000",
    ),
    (
        "brokers that are set up otherwise",
        platform.faults,
        lambda built: found(built, "RabbitmqCluster", "rabbitmq")["spec"]["rabbitmq"].update(
            additionalConfig="net_ticktime = 60\n"
        ),
        "RabbitmqCluster: 'net_ticktime = 60' is not in rabbitmq.conf",
    ),
    (
        "a service that the brokers do not let in",
        platform.faults,
        lambda built: found(built, "Job", "broker-users")["spec"]["template"]["spec"]["containers"][0][
            "env"
        ].pop(),
        "broker-users: DASHBOARD_BROKER_PASSWORD is the key rabbitmq-password of the Secret dashboard",
    ),
    (
        "a need that a label does not say",
        network.faults,
        lambda built: labels(built, "catalogue").pop("order-pipeline/needs-cache"),
        "catalogue: its label order-pipeline/needs-cache is missing",
    ),
    (
        "a right that nothing needs",
        network.faults,
        lambda built: labels(built, "notifier").update({"order-pipeline/needs-accounts": "true"}),
        "notifier: it may reach accounts on port 8101 for nothing",
    ),
    (
        "a store that is shut off",
        network.faults,
        lambda built: without(built, "NetworkPolicy", "to-postgres"),
        "ledger: it cannot reach stores on port 5432",
    ),
    (
        "names that cannot be looked up",
        network.faults,
        lambda built: without(built, "NetworkPolicy", "to-dns"),
        "notifier: it cannot reach dns on port 53",
    ),
    (
        "a port that is open to the edge",
        network.faults,
        lambda built: policy(built, "api-gateway")["ingress"][0].pop("ports"),
        "edge: it may reach api-gateway on port 9100 for nothing",
    ),
    (
        "a network where all is allowed",
        network.faults,
        lambda built: without(built, "NetworkPolicy", "default-deny"),
        "NetworkPolicy: none denies what no other one allows",
    ),
    (
        "an address where there is nothing",
        network.faults,
        lambda built: settings(built, "ledger").update(LEDGER_ACCOUNTS_URL="http://account:8101"),
        "ledger: LEDGER_ACCOUNTS_URL names account:8101, and there is no such Service",
    ),
    (
        "a name under which a service does not answer",
        network.faults,
        lambda built: settings(built, "ledger").update(LEDGER_ALLOWED_HOSTS="ledger"),
        "dashboard: ledger does not answer to the name ledger-operations",
    ),
]


@pytest.mark.parametrize(
    ("look", "change", "fault"), [each[1:] for each in PLANTED], ids=[each[0] for each in PLANTED]
)
def test_it_is_told_by_name(look: Look, change: Change, fault: str) -> None:
    """Each planted error, by the service or object that has it."""
    built = Objects(build(PRODUCTION))
    change(built)
    assert [each for each in look(built) if each.startswith(fault)]


@pytest.mark.parametrize(
    ("kind", "name", "field", "fault"),
    [
        ("Deployment", "ledger", "replica", "spec: Additional properties are not allowed ('replica' was"),
        ("ScaledObject", "notifier", "minReplicas", "spec.minReplicas is no field that is known here"),
        ("RabbitmqCluster", "rabbitmq", "nodes", "spec.nodes is no field that is known here"),
    ],
)
def test_a_misspelt_field_is_told_by_name(kind: str, name: str, field: str, fault: str) -> None:
    """Kubernetes passes over it, or refuses the object."""
    manifest = found(Objects(build(PRODUCTION)), kind, name)
    manifest["spec"][field] = 3
    assert [each for each in schemas.faults([manifest]) if each.startswith(f"{kind}/{name}: {fault}")]


def test_an_api_that_does_not_exist_is_told_by_name() -> None:
    """Of Kubernetes' own, and of an operator's."""
    built = Objects(build(PRODUCTION))
    budget, scaled = found(built, "PodDisruptionBudget", "ledger"), found(built, "ScaledObject", "notifier")
    budget["apiVersion"], scaled["apiVersion"] = "policy/v1beta1", "keda.sh/v1"
    assert list(schemas.faults([budget, scaled])) == [
        "PodDisruptionBudget/ledger: Kubernetes 1.30 has no policy/v1beta1 PodDisruptionBudget",
        "ScaledObject/notifier: its apiVersion is keda.sh/v1alpha1",
    ]


@pytest.mark.parametrize(
    ("written", "fault"),
    [
        ("resources: []\nhelmCharts: []\n", "helmCharts is not built here"),
        ("resources: [nothing.yaml]\n", "there is no nothing.yaml"),
        ("resources: []\npatches: [{path: patch.yaml}]\n", "there is no ConfigMap/pipeline to lay it over"),
    ],
)
def test_what_cannot_be_built_is_told(tmp_path: Path, written: str, fault: str) -> None:
    """A patch of nothing, and what is passed over otherwise."""
    (tmp_path / "kustomization.yaml").write_text(written)
    (tmp_path / "patch.yaml").write_text("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: pipeline}\n")
    with pytest.raises(CannotBuild, match=re.escape(fault)):
        build(tmp_path)


def test_the_guide_makes_every_secret_that_is_referred_to() -> None:
    """By name and key; those of services for whichever there are, the operator's no more than are needed."""
    referred = {secret for pod in Objects(build(BASE)).pods().values() for secret in pod.secrets.values()}
    each, own = re.findall(r"kubectl create secret generic (?:\\\n|.)*", (FOLDER / "README.md").read_text())
    keys = re.findall(r"--from-literal=([\w-]+)=", each)
    made = {(object_name(name), key) for name in ("monitor", *SERVICES) for key in keys}
    operators = {("operator", key) for key in re.findall(r"--from-literal=([\w-]+)=", own)}
    assert {secret for secret in referred if secret[0] == "operator"} == operators
    assert {name for name, _ in referred - made - operators} == {"rabbitmq-default-user"}


def test_the_guide_upgrades_in_the_order_that_is_tried() -> None:
    """As `make upgrade-check` does it."""
    (told,) = re.findall(r"\$\(services '(.+)'\); do.*\n +kubectl set image", INSTALLED.read_text())
    asked = f"from shared.services import SERVICES; print(*({told}))"
    words = subprocess.run([sys.executable, "-c", asked], check=True, capture_output=True, text=True).stdout
    assert tuple(words.split()) == ORDER
