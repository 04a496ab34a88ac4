"""The Kubernetes manifests, against Kubernetes' own schemas and against each other."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any, Literal

import pytest
import yaml
from pydantic import BaseModel, ConfigDict, Field, PositiveInt
from pydantic.alias_generators import to_camel

from milepost.worker.settings import WorkerSettings
from support.deployment import KUBERNETES, manifests, pods
from support.requirement import missing


class _Exact(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, alias_generator=to_camel)


class _Policy(_Exact):
    type: Literal["Percent", "Pods"]
    value: PositiveInt
    period_seconds: int = Field(gt=0, le=1800)


class _Rules(_Exact):
    stabilization_window_seconds: int = Field(ge=0, le=3600)
    policies: list[_Policy]


class _Behavior(_Exact):
    scale_up: _Rules
    scale_down: _Rules


class _AutoscalerConfig(_Exact):
    behavior: _Behavior


class _Advanced(_Exact):
    horizontal_pod_autoscaler_config: _AutoscalerConfig


class _Metadata(_Exact):
    """KEDA takes strings only."""

    server_address: str
    query: str
    threshold: str
    ignore_null_values: Literal["true", "false"]


class _Trigger(_Exact):
    type: Literal["prometheus"]
    metric_type: Literal["Value"]
    metadata: _Metadata


class _Target(_Exact):
    name: str


class _Scaling(_Exact):
    scale_target_ref: _Target
    min_replica_count: int
    max_replica_count: int
    polling_interval: PositiveInt
    cooldown_period: PositiveInt
    advanced: _Advanced
    triggers: list[_Trigger]


class _Endpoint(_Exact):
    port: str
    path: Literal["/metrics"]
    interval: str
    scrape_timeout: str


class _Selector(_Exact):
    match_labels: dict[str, str]


class _PodMonitor(_Exact):
    selector: _Selector
    pod_metrics_endpoints: list[_Endpoint]


class _Credentials(_Exact):
    name: str
    key: str


class _Authorization(_Exact):
    credentials: _Credentials


class _GuardedEndpoint(_Endpoint):
    authorization: _Authorization


class _ServiceMonitor(_Exact):
    selector: _Selector
    endpoints: list[_GuardedEndpoint]


# Of what others define, the part that is used here; the names were compared with their schemas by hand.
_FOREIGN: dict[str, type[_Exact]] = {
    "ScaledObject": _Scaling,
    "PodMonitor": _PodMonitor,
    "ServiceMonitor": _ServiceMonitor,
}


def _of_kind(kind: str) -> list[dict[str, Any]]:
    return [each for each in manifests() if each["kind"] == kind]


@pytest.mark.parametrize("version", ["1.32", "1.37"])
def test_kubernetes_takes_them(version: str) -> None:
    """Strict: an unknown field is an error here, where a cluster would drop it in silence."""
    try:
        import kubernetes_validate
    except ImportError:
        missing("the package kubernetes-validate is not installed")
    native = [each for each in manifests() if each["kind"] not in _FOREIGN]

    assert len(native) >= 10
    for each in native:
        kubernetes_validate.validate(each, version, strict=True)


def test_the_operators_take_theirs() -> None:
    foreign = [each for each in manifests() if each["kind"] in _FOREIGN]

    assert {each["kind"] for each in foreign} == {*_FOREIGN}
    for each in foreign:
        assert {*each} == {"apiVersion", "kind", "metadata", "spec"}
        _FOREIGN[each["kind"]].model_validate(each["spec"])


def test_kustomize_puts_them_together(tmp_path: Path) -> None:
    """Everything switched on, as `kubectl apply -k` would send it."""
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("kubectl is not installed, and Debian's is too old")
    folder = tmp_path / "kubernetes"
    shutil.copytree(KUBERNETES, folder)
    kustomization = folder / "kustomization.yaml"
    text = kustomization.read_text()
    assert text.count("# - options/") == len([*KUBERNETES.glob("options/*.yaml")])
    kustomization.write_text(text.replace("# - options/", "- options/"))

    without = _kustomize(kubectl, folder)
    (folder / "secret.env").write_text("MILEPOST_URL=redis://valkey:6379/0\n")
    done = _kustomize(kubectl, folder)

    assert without.returncode != 0
    assert "secret.env" in without.stderr
    assert done.returncode == 0, done.stderr
    objects = [*yaml.safe_load_all(done.stdout)]
    assert {o["metadata"]["namespace"] for o in objects if o["kind"] != "Namespace"} == {"milepost"}
    names = {o["metadata"]["name"] for o in objects if o["kind"] in {"ConfigMap", "Secret"}}
    for each in objects:
        if each["kind"] == "Deployment":
            container = each["spec"]["template"]["spec"]["containers"][0]
            sources = [next(iter(s.values()))["name"] for s in container["envFrom"]]
            # With a hash of the content, so that a change rolls the pods.
            assert {*sources} == names
            assert container["image"] == "registry.example.com/milepost:0.1.0"


def _kustomize(kubectl: str, folder: Path) -> subprocess.CompletedProcess[str]:
    env = {"PATH": os.environ["PATH"], "HOME": str(folder)}
    return subprocess.run(
        [kubectl, "kustomize", str(folder)], capture_output=True, text=True, env=env
    )


def test_kustomization_lists_every_file() -> None:
    text = (KUBERNETES / "kustomization.yaml").read_text()
    files = [p for p in KUBERNETES.rglob("*.yaml") if p.name != "kustomization.yaml"]

    for path in files:
        assert f"- {path.relative_to(KUBERNETES)}" in text
    for name in yaml.safe_load(text)["resources"]:
        assert (KUBERNETES / name).is_file()


@pytest.mark.parametrize("name", ["milepost-worker", "milepost-api", "milepost-flower"])
def test_pods_are_restricted(name: str) -> None:
    pod = pods()[name]
    (container,) = pod["containers"]

    assert pod["securityContext"]["runAsNonRoot"] is True
    # The image's own user: its number must be said, so that volumes belong to it.
    assert pod["securityContext"]["runAsUser"] == pod["securityContext"]["fsGroup"] == 10001
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod["automountServiceAccountToken"] is False
    # A Service milepost-metrics would set MILEPOST_METRICS_PORT to a URL.
    assert pod["enableServiceLinks"] is False
    assert container["resources"]["limits"]["memory"]
    assert container["resources"]["requests"]["cpu"]
    assert [m["mountPath"] for m in container["volumeMounts"]] == ["/tmp"]
    assert [*pod["volumes"][0]] == ["name", "emptyDir"]


def test_probes_ask_where_something_answers() -> None:
    for name, pod in pods().items():
        (container,) = pod["containers"]
        ports = {p["name"]: p["containerPort"] for p in container["ports"]}
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            assert container[probe]["httpGet"]["port"] in ports, name
        if name != "milepost-worker":
            assert f"--port={next(iter(ports.values()))}" in container["args"]
    (worker,) = pods()["milepost-worker"]["containers"]
    assert worker["ports"] == [{"name": "metrics", "containerPort": 9100}]
    # Readiness depends on the stores; were it liveness, their failure would restart every worker.
    assert worker["livenessProbe"]["httpGet"]["path"] == "/healthz"
    assert worker["readinessProbe"]["httpGet"]["path"] == "/readyz"


def test_workers_have_time_to_hand_back() -> None:
    lines = (KUBERNETES / "config.env").read_text().splitlines()
    grace = float(dict(e.split("=", 1) for e in lines if "=" in e)["MILEPOST_GRACE_SECONDS"])
    pod = pods()["milepost-worker"]

    assert grace == WorkerSettings(_env_file=None).grace_seconds
    assert pod["terminationGracePeriodSeconds"] >= grace + 15
    assert "lifecycle" not in pod["containers"][0]


def test_labels_meet() -> None:
    """A selector that selects nothing is no error to anybody."""
    labels = [
        each["spec"]["template"]["metadata"]["labels"]
        for each in manifests()
        if each["kind"] == "Deployment"
    ] + [each["metadata"].get("labels", {}) for each in _of_kind("Service")]
    selectors = [
        selector
        for each in manifests()
        for selector in (
            each["spec"].get("selector", {}).get("matchLabels") if "spec" in each else None,
            each["spec"].get("podSelector", {}).get("matchLabels") if "spec" in each else None,
            each["spec"]["selector"] if each["kind"] == "Service" else None,
        )
        if selector
    ]

    assert len(selectors) >= 8
    for selector in selectors:
        assert any(selector.items() <= found.items() for found in labels), selector


def test_workers_and_api_survive_a_drained_node() -> None:
    budgets = {each["metadata"]["name"]: each["spec"] for each in _of_kind("PodDisruptionBudget")}
    replicas = {
        each["metadata"]["name"]: each["spec"]["replicas"] for each in _of_kind("Deployment")
    }

    for name in ("milepost-worker", "milepost-api"):
        assert budgets[name]["maxUnavailable"] == 1
        assert replicas[name] >= 2


def test_there_is_always_a_worker() -> None:
    """Who else would find the runs that are due?"""
    (scaled,) = _of_kind("ScaledObject")
    scaling = _Scaling.model_validate(scaled["spec"])
    args = pods()["milepost-worker"]["containers"][0]["args"]

    assert scaling.min_replica_count >= 1
    assert scaling.min_replica_count < scaling.max_replica_count
    assert scaling.scale_target_ref.name in pods()
    assert scaling.triggers[0].metadata.query == 'max(milepost_queue_age_seconds{queue="milepost"})'
    assert "--queues=milepost" in args


def test_nobody_gets_in_who_is_not_named() -> None:
    policies = {each["metadata"]["name"]: each["spec"] for each in _of_kind("NetworkPolicy")}
    default = policies.pop("milepost-default")

    assert default["podSelector"] == {}
    assert default["policyTypes"] == ["Ingress", "Egress"]
    assert "ingress" not in default
    for policy in policies.values():
        assert all(rule["from"] for rule in policy["ingress"])


def test_no_secret_stands_in_the_files() -> None:
    assert _of_kind("Secret") == []
    example = (KUBERNETES / "secret.env.example").read_text()
    values = [line.partition("=")[2] for line in example.splitlines() if "=" in line]

    assert values
    assert {*values} == {""}
