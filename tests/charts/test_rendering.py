"""What helm makes of the charts: rendered by helm, judged by Kubernetes' schemas and by the agent itself."""

from __future__ import annotations

import functools
import json
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from inotify_bridge import config
from tests.charts import derived
from tests.charts.derived import BRIDGE, SIDECAR
from tests.charts.helm import HelmError, Manifests, helm, manifests

EXAMPLES = [path.name for path in derived.examples()]
PODS = [name for name in EXAMPLES if name != "injection"]
"""Those with an agent of their own."""
OLDEST, NEWEST = "1.29", kubernetes_validate.latest_version()
POLICY_SINCE = "1.36"
MINIMAL = BRIDGE / "examples" / "minimal" / "values.yaml"
GUIDE = BRIDGE.parents[1] / "docs" / "kubernetes.md"

OPERATOR = {"PodMonitor", "ServiceMonitor", "PrometheusRule"}
"""Kinds of the Prometheus operator: no schema of Kubernetes knows them."""
POLICY = {"MutatingAdmissionPolicy", "MutatingAdmissionPolicyBinding"}


@functools.cache
def rendered(example: str) -> Manifests:
    """The manifests of an example of `inotify-bridge`."""
    return manifests(BRIDGE, "--values", BRIDGE / "examples" / example / "values.yaml")


def changed(*settings: str, example: str = "minimal") -> Manifests:
    """The manifests of an example with ``key=value`` of one's own, values in JSON."""
    options = [part for setting in settings for part in ("--set-json", setting)]
    return manifests(BRIDGE, "--values", BRIDGE / "examples" / example / "values.yaml", *options)


def one(found: Manifests, kind: str) -> dict[str, Any]:
    """The only manifest of a kind."""
    (manifest,) = [manifest for (its_kind, _), manifest in found.items() if its_kind == kind]
    return manifest


def pod(found: Manifests) -> dict[str, Any]:
    """The spec of the pods of a DaemonSet or Deployment."""
    (workload,) = [m for (kind, _), m in found.items() if kind in {"DaemonSet", "Deployment"}]
    spec: dict[str, Any] = workload["spec"]["template"]["spec"]
    return spec


def agents(found: Manifests) -> Iterator[str]:
    """Every configuration of an agent."""
    for (kind, _), manifest in found.items():
        if kind == "ConfigMap" and "config.yaml" in manifest["data"]:
            yield manifest["data"]["config.yaml"]


@pytest.fixture(scope="module")
def application(tmp_path_factory: pytest.TempPathFactory) -> Manifests:
    """The manifests of the example application with the library chart."""
    return manifests(derived.application(tmp_path_factory.mktemp("application")))


@pytest.mark.parametrize("example", EXAMPLES)
def test_lint(example: str) -> None:
    """`helm lint --strict` has nothing to say against the chart with the values of each example."""
    helm("lint", "--strict", BRIDGE, "--values", BRIDGE / "examples" / example / "values.yaml")


def test_lint_of_the_library() -> None:
    """Nor against the library chart."""
    helm("lint", "--strict", SIDECAR)


def test_examples_render_as_they_are_kept() -> None:
    """Every example renders to the file beside it: a difference is looked at, then `make charts` keeps it."""
    for path, wanted in derived.renderings().items():
        assert path.read_text() == wanted, path


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
@pytest.mark.parametrize("example", EXAMPLES)
def test_manifests_are_of_kubernetes(version: str, example: str) -> None:
    """Every manifest is valid, without an unknown field, for the oldest and the newest Kubernetes."""
    unknown = OPERATOR if version == NEWEST else OPERATOR | POLICY
    for (kind, _), manifest in rendered(example).items():
        if kind not in unknown:
            kubernetes_validate.validate(manifest, version, strict=True)


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_the_application_is_of_kubernetes(version: str, application: Manifests) -> None:
    """The example application with its sidecar is valid, too."""
    for manifest in application.values():
        kubernetes_validate.validate(manifest, version, strict=True)


def test_the_agent_takes_every_configuration(
    application: Manifests, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each configuration that a chart writes is loaded by the agent."""
    for name in ("NODE_NAME", "POD_NAME"):
        monkeypatch.setenv(name, "a-name")
    for found in (application, *map(rendered, EXAMPLES)):
        for text in agents(found):
            file = tmp_path / "config.yaml"
            file.write_text(text)
            loaded = config.load(file)
            assert loaded.http.address == ("0.0.0.0", 10477)
            assert loaded.state.dir == b"/var/lib/inotify-bridge"


def containers(found: Manifests) -> Iterator[dict[str, Any]]:
    """All containers of all pods, the prepared directory's excepted."""
    spec = pod(found)
    for container in (*spec.get("initContainers", ()), *spec["containers"]):
        if container["name"] != "state-directory":
            yield {
                **container,
                "securityContext": {**spec["securityContext"], **container["securityContext"]},
            }


@pytest.mark.parametrize("example", [*PODS, "application"])
def test_restricted(example: str, application: Manifests) -> None:
    """No container has a right that PodSecurity `restricted` would refuse, nor the token of its account."""
    found = application if example == "application" else rendered(example)
    assert pod(found)["automountServiceAccountToken"] is False
    for container in containers(found):
        security = container["securityContext"]
        assert security["runAsNonRoot"] is True
        assert security["allowPrivilegeEscalation"] is False
        assert security["capabilities"] == {"drop": ["ALL"]}
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}
    if example in {"deployment", "application"}:
        assert {kind for volume in pod(found)["volumes"] for kind in volume} <= {
            "name", "configMap", "secret", "emptyDir", "persistentVolumeClaim",
        }  # fmt: skip


@pytest.mark.parametrize("example", [*PODS, "application"])
def test_mounts(example: str, application: Manifests) -> None:
    """What is watched is mounted read-only, and every file that the configuration names below a mount."""
    found = application if example == "application" else rendered(example)
    (agent,) = [one for one in containers(found) if one["name"] == "inotify-bridge"]
    mounts = {mount["mountPath"]: mount for mount in agent["volumeMounts"]}
    assert all(
        mount["readOnly"] for path, mount in mounts.items() if path.startswith(("/watch", "/run/secrets"))
    )
    text = next(text for text in agents(found) if "watch_groups" in text)
    named = re.findall(r"/(?:watch|run/secrets|var/lib|run/inotify-bridge)[\w/.-]*", text)
    assert named
    assert [path for path in named if not any(path == at or path.startswith(f"{at}/") for at in mounts)] == []
    volumes = {volume["name"] for volume in pod(found)["volumes"]}
    assert {mount["name"] for mount in agent["volumeMounts"]} <= volumes


def test_one_writer() -> None:
    """A Deployment has one replica and ends it before the next begins; a DaemonSet does not surge."""
    deployment = one(rendered("deployment"), "Deployment")["spec"]
    assert (deployment["replicas"], deployment["strategy"]) == (1, {"type": "Recreate"})
    assert one(rendered("daemonset"), "DaemonSet")["spec"]["updateStrategy"]["rollingUpdate"]["maxSurge"] == 0


def test_identity_outlives_the_pod() -> None:
    """The host in the events' source is the node's, or release and namespace: never the name of a pod."""
    hosts = {
        e: yaml.safe_load(next(agents(rendered(e))))["events"]["host"] for e in ("daemonset", "deployment")
    }
    assert hosts == {"daemonset": "${NODE_NAME}", "deployment": "demo-inotify-bridge.bridge"}


def test_a_watched_claim_keeps_its_owner() -> None:
    """The claim that is watched is read-only as a volume: fsGroup must not change the files of others."""
    volumes = {volume["name"]: volume for volume in pod(rendered("deployment"))["volumes"]}
    assert volumes["watch-uploads"]["persistentVolumeClaim"]["readOnly"] is True
    assert "readOnly" not in volumes["state"]["persistentVolumeClaim"]


def test_the_sidecar_holds_the_application(application: Manifests) -> None:
    """The sidecar is a native one, whose start-up probe waits for the watches, without a say in readiness."""
    (sidecar,) = pod(application)["initContainers"]
    assert sidecar["restartPolicy"] == "Always"
    assert sidecar["startupProbe"]["httpGet"]["path"] == "/startupz"
    assert "readinessProbe" not in sidecar


def test_a_change_of_the_configuration() -> None:
    """By default the running agent reloads it and the pod stays; with `restart` the pod is another."""
    for way, flags, same in (("reload", ["run", "--reload-on-change"], True), ("restart", ["run"], False)):
        setting = f'onConfigChange="{way}"'
        before, after = changed(setting), changed(setting, 'config.log.level="debug"')
        assert pod(before)["containers"][0]["args"] == flags
        assert (one(before, "DaemonSet") == one(after, "DaemonSet")) is same
        assert one(before, "ConfigMap") != one(after, "ConfigMap")


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("replicas=2", "additional properties 'replicas' not allowed"),
        ("config.sink=[]", "additional properties 'sink' not allowed"),
        ('config.watch_groups=[{"name":"g","path":["/watch"],"sinks":["print"]}]', "'path' not allowed"),
        ("config.watch_groups=[]", "at '/config/watch_groups': minItems"),
        ('watch=[{"name":"a"}]', "hostPath"),
        ('watch=[{"name":"a","hostPath":"/a","existingClaim":"b"}]', "/watch/0"),
        ('config.http.listen=":1"', "see `port`"),
        ('config.state.dir="/x"', "see `persistence`"),
        ('persistence.type="claim"', "each needs a state directory of its own"),
        ("podDisruptionBudget.enabled=true", "leaves the pods of a DaemonSet alone"),
        ("injection.enabled=true", "/injection"),
    ],
)
def test_refused(setting: str, words: str) -> None:
    """What cannot work is refused before anything is installed, and the words name it."""
    with pytest.raises(HelmError, match=re.escape(words)):
        changed(setting)


def test_refused_pairs() -> None:
    """Two monitors, a monitor without its Service, and state that a Deployment would leave behind."""
    for settings, words in (
        (["serviceMonitor.enabled=true", "podMonitor.enabled=true"], "one of them"),
        (["serviceMonitor.enabled=true", "service.enabled=false"], "needs service.enabled"),
        (['mode="deployment"', 'persistence.type="hostPath"'], "use claim"),
    ):
        with pytest.raises(HelmError, match=words):
            changed(*settings)


def test_alerts() -> None:
    """The PrometheusRule holds every rule of the files, word for word, but alerts that are switched off."""
    files = [yaml.safe_load(path.read_text()) for path in sorted((BRIDGE / "files").glob("*.yml"))]
    groups = [group for file in files for group in file["groups"]]
    assert one(changed("prometheusRule.enabled=true"), "PrometheusRule")["spec"]["groups"] == groups
    name = next(rule["alert"] for group in groups for rule in group["rules"] if "alert" in rule)
    left = changed("prometheusRule.enabled=true", f'prometheusRule.disabledAlerts=["{name}"]')
    rules = [rule for group in one(left, "PrometheusRule")["spec"]["groups"] for rule in group["rules"]]
    assert len(rules) == sum(len(group["rules"]) for group in groups) - 1
    assert name not in {rule.get("alert") for rule in rules}


def test_runbook_url() -> None:
    """Alerts link to where the runbook was published, each to its own section."""
    there = "https://wiki.example.com/runbook"
    found = changed("prometheusRule.enabled=true", f'prometheusRule.runbookUrl="{there}"')
    rules = [rule for group in one(found, "PrometheusRule")["spec"]["groups"] for rule in group["rules"]]
    links = [rule["annotations"]["runbook_url"] for rule in rules if "alert" in rule]
    assert links
    assert all(re.fullmatch(re.escape(there) + "#[a-z]+", link) for link in links), links


def test_dashboards() -> None:
    """Each dashboard is a ConfigMap that Grafana's sidecar finds, with the JSON of the file."""
    found = [
        manifest
        for manifest in changed("dashboards.enabled=true").values()
        if manifest["metadata"]["labels"].get("grafana_dashboard") == "1"
    ]
    files = sorted((BRIDGE / "files" / "dashboards").glob("*.json"))
    assert files
    assert {name: json.loads(text) for one in found for name, text in one["data"].items()} == {
        path.name: json.loads(path.read_text()) for path in files
    }


def test_network_policy() -> None:
    """Without egress rules nothing that goes out is restricted; with some, names are still looked up."""
    open_one = one(changed("networkPolicy.enabled=true"), "NetworkPolicy")["spec"]
    assert open_one["policyTypes"] == ["Ingress"]
    closed = one(rendered("deployment"), "NetworkPolicy")["spec"]
    assert closed["policyTypes"] == ["Ingress", "Egress"]
    assert {port["port"] for rule in closed["egress"] for port in rule["ports"]} == {53, 5671}


def literal(expression: str, path: str) -> Any:
    """The value that a patch adds at a path: the CEL literal is JSON but for dyn() and the variable."""
    found = re.search(rf'path: "{re.escape(path)}", value: (\{{.*\}})\}}', expression)
    assert found, path
    return json.loads(found[1].replace("variables.volume", '"data"').replace("dyn(", "").replace(")", ""))


def test_injection() -> None:
    """The policy adds the sidecar of the library chart, as the first, to labelled pods of the namespaces."""
    found = rendered("injection")
    policy = one(found, "MutatingAdmissionPolicy")["spec"]
    containers, volumes = (mutation["jsonPatch"]["expression"] for mutation in policy["mutations"])
    sidecar = literal(containers, "/spec/initContainers/0")
    security = sidecar["securityContext"]
    assert (security["runAsNonRoot"], security["runAsUser"]) == (True, 10001)
    assert security["capabilities"] == {"drop": ["ALL"]}
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}
    assert sidecar["restartPolicy"] == "Always"
    mounted = {mount["name"] for mount in sidecar["volumeMounts"]} - {"data"}
    assert mounted == set(re.findall(r'"name": dyn\("(inotify-bridge[\w-]*)"\)', volumes))
    binding = one(found, "MutatingAdmissionPolicyBinding")["spec"]
    assert binding["policyName"] == one(found, "MutatingAdmissionPolicy")["metadata"]["name"]
    assert binding["matchResources"]["objectSelector"] == {"matchLabels": {"inotify-bridge/inject": "true"}}
    assert set(found) == {
        ("ConfigMap", "demo-inotify-bridge-injected"),
        ("MutatingAdmissionPolicy", "demo-inotify-bridge-injection-bridge"),
        ("MutatingAdmissionPolicyBinding", "demo-inotify-bridge-injection-bridge"),
        ("PodMonitor", "demo-inotify-bridge-injected"),
    }
    with pytest.raises(HelmError, match=f"needs Kubernetes {POLICY_SINCE}"):
        helm(
            "template", "x", BRIDGE, "-f", BRIDGE / "examples/injection/values.yaml", "--kube-version", "1.35"
        )


def test_packages_hold_no_examples(tmp_path: Path) -> None:
    """`helm package` takes both charts, without their examples."""
    for chart in (BRIDGE, SIDECAR):
        helm("package", chart, "--destination", tmp_path)
        with tarfile.open(next(tmp_path.glob(f"{chart.name}-[0-9]*.tgz"))) as package:
            names = {Path(name).relative_to(chart.name).parts[0] for name in package.getnames()}
        assert {"Chart.yaml", "README.md", "templates", "values.schema.json", "values.yaml"} <= names
        assert "examples" not in names


@pytest.mark.parametrize("mode", ["daemonset", "deployment"])
def test_the_guide(mode: str, tmp_path: Path) -> None:
    """The values that docs/kubernetes.md shows for a mode render, with what a configuration needs."""
    blocks = re.findall(r"^```yaml\n(mode:.*?)^```", GUIDE.read_text(), re.MULTILINE | re.DOTALL)
    (shown,) = [values for values in map(yaml.safe_load, blocks) if values["mode"] == mode]
    file = tmp_path / "values.yaml"
    file.write_text(yaml.safe_dump(shown | {"config": yaml.safe_load(MINIMAL.read_text())["config"]}))
    assert (mode, "demo-inotify-bridge") in {
        (kind.lower(), name) for kind, name in manifests(BRIDGE, "--values", file)
    }
