"""What the charts render, judged by the API server itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.cluster import Cluster, CommandFailed
from tests.cluster.release import AGENT_CHART

EXAMPLES = sorted((AGENT_CHART / "examples").glob("*/values.yaml"))
_OPERATOR_KINDS = {
    "PodMonitor": "podmonitors",
    "ServiceMonitor": "servicemonitors",
    "PrometheusRule": "prometheusrules",
}


def _custom(kind: str, plural: str) -> dict[str, Any]:
    """A definition under which the API server takes objects of a kind, whatever is in them."""
    group = "monitoring.coreos.com"
    anything = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": anything}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "names": {"kind": kind, "plural": plural, "singular": kind.lower()},
            "scope": "Namespaced",
            "versions": [version],
        },
    }


@pytest.fixture(scope="module")
def operator(cluster: Cluster) -> None:
    """The Prometheus operator's kinds are known."""
    cluster.apply(*(_custom(kind, plural) for kind, plural in _OPERATOR_KINDS.items()))
    names = [f"crd/{plural}.monitoring.coreos.com" for plural in _OPERATOR_KINDS.values()]
    cluster.kubectl("wait", "--for=condition=Established", "--timeout=60s", *names)


def _rendered(cluster: Cluster, namespace: str, values: Path) -> list[dict[str, Any]]:
    text = cluster.helm(
        "template", "bridge", str(AGENT_CHART), "--namespace", namespace, "--values", str(values)
    )
    return [manifest for manifest in yaml.safe_load_all(text) if manifest]


@pytest.mark.parametrize("values", EXAMPLES, ids=lambda path: path.parent.name)
@pytest.mark.usefixtures("operator")
def test_the_api_server_takes_every_example(cluster: Cluster, namespace: str, values: Path) -> None:
    """Every manifest of every example passes the API server's strict validation."""
    manifests = _rendered(cluster, namespace, values)
    for manifest in manifests:
        if "namespace" in manifest["metadata"]:  # of the injection: the pods', which the example makes up
            manifest["metadata"]["namespace"] = namespace
    answer = cluster.dry_run(manifests, namespace)
    assert len(answer.splitlines()) == len(manifests)
    assert all(line.endswith("(server dry run)") for line in answer.splitlines()), answer


def test_the_api_server_refuses_what_it_does_not_know(cluster: Cluster, namespace: str) -> None:
    """The validation is strict: a field with a slip in it is named."""
    (minimal,) = (path for path in EXAMPLES if path.parent.name == "minimal")
    manifests = _rendered(cluster, namespace, minimal)
    (daemons,) = (one for one in manifests if one["kind"] == "DaemonSet")
    daemons["spec"]["template"]["spec"]["volumes"][0]["hostPth"] = {}
    with pytest.raises(CommandFailed, match=r"unknown field .*hostPth"):
        cluster.dry_run(manifests, namespace)
