"""
A cluster of one node on this machine: etcd, API server, controllers, scheduler, kubelet, containerd.

All of it runs in mount, network and PID namespaces of its own (`tests.cluster.init`), so that nothing is left
of it. A pair of virtual interfaces connects it with the machine: tests reach the API server and pods, pods
reach brokers that listen on `HOST_ADDRESS`. There is no kube-proxy, no DNS and no controller of network
policies: Services do not resolve in pods, and policies are accepted but not enforced.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.cluster.image import write_image
from tests.cluster.programs import Programs
from tests.waiting import eventually

HOST_ADDRESS = "10.250.0.1"
NODE_ADDRESS = "10.250.0.2"
NODE = "node-0"
_LINK = "ibridge-test"
_NETWORK = "10.250.0.0/16"
_PODS = "10.250.1.0/24"
_SERVICES = "10.96.0.0/16"
_API = f"https://{NODE_ADDRESS}:6443"
_ETCD = "http://127.0.0.1:2379"
_PAUSE_IMAGE = "localhost/pause:1"
_START_SECONDS = 180.0
_COMMAND_SECONDS = 180.0
_DEBIAN = {
    "containerd": "containerd",
    "runc": "runc",
    "ctr": "containerd",
    "unshare": "util-linux",
    "ip": "iproute2",
}
_CNI = Path("/usr/lib/cni/bridge")


_CONTAINERD = """\
version = 2
root = "{directory}/containerd"
state = "{directory}/state"
[grpc]
  address = "{socket}"
[plugins."io.containerd.internal.v1.opt"]
  path = "{directory}/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{cni}"
    conf_dir = "{directory}/cni"
"""


class CommandFailed(Exception):
    """kubectl, helm or ctr ended with an error; the text is what it said."""


def missing() -> str:
    """What this machine lacks for a node, and how to get it; empty where everything is there."""
    if os.geteuid() != 0:
        return "a node needs root: containers are made with mounts, networks and cgroups"
    for program, package in _DEBIAN.items():
        if not shutil.which(program):
            return f"{program} is not installed: apt-get install {package}"
    return "" if _CNI.exists() else f"{_CNI} is missing: apt-get install containernetworking-plugins"


class Cluster:
    """
    One cluster, in a temporary directory that goes with it. As a context manager it starts and stops itself.

    Args:
        programs: see `tests.cluster.programs`.
    """

    def __init__(self, programs: Programs) -> None:
        self._programs = programs
        self.directory = Path(tempfile.mkdtemp(prefix="inotify-bridge-cluster-"))
        self.kubeconfig = self.directory / "kubeconfig"
        self._init: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Returns when the node is ready. Raises AssertionError, with the ends of the logs."""
        try:
            self._enter_namespaces()
            self._start_control_plane()
            self._start_node()
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self._log_tails()}") from error

    def stop(self) -> None:
        """End every process, pods too, and remove the directory. Idempotent."""
        if self._init is not None and self._init.stdin is not None:
            self._init.stdin.close()
            self._init.wait(60)
        for path in self._cgroups():
            if path.exists():
                eventually(lambda path=path: _removed(path), what=f"{path} is empty", poll=0.1)  # type: ignore[misc]
        shutil.rmtree(self.directory, ignore_errors=True)

    # -- what tests do with it

    def kubectl(self, *arguments: str, data: str | None = None, within: float = _COMMAND_SECONDS) -> str:
        """What kubectl prints, given `data` as its input. Raises CommandFailed."""
        return _run([*self._kubectl(), *arguments], data, within)

    def get(self, *arguments: str) -> Any:
        """``kubectl get … -o json``, parsed."""
        return json.loads(self.kubectl("get", *arguments, "-o", "json"))

    def apply(self, *objects: dict[str, Any], namespace: str = "default") -> str:
        """Apply manifests, strictly: an unknown field is an error."""
        return self._apply(objects, namespace)

    def dry_run(self, objects: Sequence[dict[str, Any]], namespace: str) -> str:
        """The same without effect: all that the API server checks, one line an object."""
        return self._apply(objects, namespace, "--dry-run=server")

    def would_be(self, one: dict[str, Any], namespace: str) -> dict[str, Any]:
        """What the API server would make of a manifest, with what policies and defaults add to it."""
        arguments = ("create", "--namespace", namespace, "--dry-run=server", "-o", "json", "-f", "-")
        made: dict[str, Any] = json.loads(self.kubectl(*arguments, data=json.dumps(one)))
        return made

    def helm(self, *arguments: str, within: float = _COMMAND_SECONDS) -> str:
        """What helm prints. Raises CommandFailed."""
        environment = {
            f"HELM_{kind}_HOME": str(self.directory / "helm" / kind) for kind in ("CACHE", "CONFIG", "DATA")
        }
        command = [str(self._programs.helm), "--kubeconfig", str(self.kubeconfig), *arguments]
        return _run(command, None, within, environment)

    def load(self, archive: Path) -> None:
        """Give the node the images of a ``docker save``: nothing is ever pulled."""
        self._ctr("images", "import", str(archive))

    def tag(self, image: str, name: str) -> None:
        """Give an image of the node a second name."""
        self._ctr("images", "tag", f"docker.io/library/{image}", f"docker.io/library/{name}")

    def kill(self, container: str) -> None:
        """SIGKILL to a container, by the id that Kubernetes gives: a crash."""
        self._ctr("tasks", "kill", "--signal", "SIGKILL", container.removeprefix("containerd://"))

    # -- how it starts

    def _enter_namespaces(self) -> None:
        for path in self._cgroups():
            path.mkdir()
        namespaces = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]
        with (self.directory / "init.log").open("ab") as log:
            self._init = subprocess.Popen(
                [*namespaces, sys.executable, "-m", "tests.cluster.init", str(self.directory)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        pid = self._init.pid
        eventually(lambda: _network_of(pid) != _network_of(os.getpid()), what="a network of its own")
        _run(["ip", "link", "add", _LINK, "type", "veth", "peer", "name", "eth0", "netns", str(pid)])
        inside = ["nsenter", "--target", str(pid), "--net"]
        for command in (
            ["ip", "address", "add", f"{HOST_ADDRESS}/30", "dev", _LINK],
            ["ip", "link", "set", _LINK, "up"],
            ["ip", "route", "add", _NETWORK, "via", NODE_ADDRESS],
            [*inside, "ip", "link", "set", "lo", "up"],
            [*inside, "ip", "address", "add", f"{NODE_ADDRESS}/30", "dev", "eth0"],
            [*inside, "ip", "link", "set", "eth0", "up"],
            [*inside, "ip", "route", "add", "default", "via", HOST_ADDRESS],
        ):
            _run(command)

    def _start_control_plane(self) -> None:
        keys = self.directory / "keys"
        accounts = self._make_keys(keys)
        self._control("etcd", str(self.directory / "etcd"), _ETCD)
        self._control(
            "apiserver",
            f"--etcd-servers={_ETCD}",
            f"--advertise-address={NODE_ADDRESS}",
            f"--cert-dir={keys}",
            f"--token-auth-file={keys / 'tokens'}",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={accounts}.pub",
            f"--service-account-signing-key-file={accounts}",
            f"--service-cluster-ip-range={_SERVICES}",
            "--kubelet-preferred-address-types=InternalIP",
            "--authorization-mode=Node,RBAC",
            "--endpoint-reconciler-type=none",
        )
        eventually(self._api_ready, within=_START_SECONDS, what="the API server is ready", poll=0.2)
        client = (f"--kubeconfig={self.kubeconfig}", "--leader-elect=false", "--secure-port=0")
        signing = (
            f"--service-account-private-key-file={accounts}",
            f"--root-ca-file={keys / 'apiserver.crt'}",
        )
        self._control("controller-manager", *client, *signing)
        self._control("scheduler", *client)

    def _make_keys(self, directory: Path) -> Path:
        """An administrator's token and kubeconfig; returns X: X and X.pub sign and check service accounts."""
        directory.mkdir()
        token, made = secrets.token_hex(16), str(directory / "apiserver.crt")  # the API server makes it
        (directory / "tokens").write_text(f'{token},admin,admin,"system:masters"\n')
        named = {
            "clusters": [{"name": "test", "cluster": {"server": _API, "certificate-authority": made}}],
            "users": [{"name": "test", "user": {"token": token}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        }
        config = {"apiVersion": "v1", "kind": "Config", **named, "current-context": "test"}
        self.kubeconfig.write_text(json.dumps(config))
        key = directory / "accounts.key"
        curve = ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]
        _run(["openssl", "genpkey", *curve, "-out", str(key)])
        _run(["openssl", "pkey", "-in", str(key), "-pubout", "-out", f"{key}.pub"])
        return key

    def _start_node(self) -> None:
        socket = self.directory / "containerd.sock"
        self._write_node_configuration(socket)
        self._launch("containerd", "containerd", "--config", str(self.directory / "containerd.toml"))
        eventually(
            lambda: self._answers("version"), within=_START_SECONDS, what="containerd answers", poll=0.2
        )
        self._import_pause()
        self._launch(
            "kubelet",
            str(self._programs.kubelet),
            f"--config={self.directory / 'kubelet.json'}",
            f"--kubeconfig={self.kubeconfig}",
            f"--root-dir={self.directory / 'kubelet'}",
            f"--cert-dir={self.directory / 'keys'}",
            f"--hostname-override={NODE}",
            f"--node-ip={NODE_ADDRESS}",
        )
        eventually(self._node_ready, within=_START_SECONDS, what="the node is ready", poll=0.2)

    def _write_node_configuration(self, socket: Path) -> None:
        here = self.directory
        (here / "containerd.toml").write_text(
            _CONTAINERD.format(directory=here, socket=socket, pause=_PAUSE_IMAGE, cni=_CNI.parent)
        )
        (here / "cni").mkdir()
        addresses = {
            "type": "host-local",
            "dataDir": str(here / "addresses"),
            "ranges": [[{"subnet": _PODS}]],
        }
        bridge = {"type": "bridge", "bridge": "pods", "isDefaultGateway": True, "ipam": addresses}
        network = {"cniVersion": "0.4.0", "name": "pods", "plugins": [bridge]}
        (here / "cni" / "10-pods.conflist").write_text(json.dumps(network))
        kubelet = {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            # In its own network nobody but the API server and this machine's root reaches it.
            "authentication": {"anonymous": {"enabled": True}, "webhook": {"enabled": False}},
            "authorization": {"mode": "AlwaysAllow"},
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": f"/{here.name}",
            "failCgroupV1": False,
            "failSwapOn": False,
            "enforceNodeAllocatable": [],
            "oomScoreAdj": 0,
            "makeIPTablesUtilChains": False,
            "containerRuntimeEndpoint": f"unix://{socket}",
            "podLogsDir": str(here / "logs"),
            "volumePluginDir": str(here / "plugins"),
            # A full disk of the machine is not what is tested.
            "evictionHard": {"memory.available": "10Mi", "nodefs.available": "0%", "imagefs.available": "0%"},
            "imageGCHighThresholdPercent": 100,
        }
        (here / "kubelet.json").write_text(json.dumps(kubelet))

    def _import_pause(self) -> None:
        archive = self.directory / "pause.tar"
        write_image(archive, _PAUSE_IMAGE, self._programs.pause)
        self.load(archive)

    def _apply(self, objects: Sequence[dict[str, Any]], namespace: str, *how: str) -> str:
        listed = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        arguments = ("apply", "--namespace", namespace, "--validate=strict", *how, "-f", "-")
        return self.kubectl(*arguments, data=json.dumps(listed))

    def _launch(self, name: str, *command: str) -> None:
        assert self._init is not None
        assert self._init.stdin is not None
        self._init.stdin.write(json.dumps([name, command]) + "\n")
        self._init.stdin.flush()

    def _control(self, component: str, *flags: str) -> None:
        self._launch(component, str(self._programs.control), component, *flags)

    def _kubectl(self) -> list[str]:
        return [str(self._programs.control), "kubectl", "--kubeconfig", str(self.kubeconfig)]

    def _ctr(self, *arguments: str) -> str:
        return _run(
            ["ctr", "--address", str(self.directory / "containerd.sock"), "--namespace", "k8s.io", *arguments]
        )

    def _answers(self, *arguments: str) -> bool:
        try:
            self._ctr(*arguments)
        except CommandFailed:
            return False
        return True

    def _api_ready(self) -> bool:
        self._all_run()
        try:
            return self.kubectl("get", "--raw", "/readyz") == "ok"
        except CommandFailed:
            return False

    def _node_ready(self) -> bool:
        self._all_run()
        nodes = self.get("nodes")["items"]
        conditions = [one for node in nodes for one in node["status"]["conditions"]]
        return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)

    def _all_run(self) -> None:
        ended = self.directory / "ended"
        assert not ended.exists(), f"ended at its start: {ended.read_text()}"

    def _cgroups(self) -> list[Path]:
        """The cluster's own group in every hierarchy."""
        mounts = (line.split() for line in Path("/proc/self/mounts").read_text().splitlines())
        return [
            Path(fields[1]) / self.directory.name for fields in mounts if fields[2] in ("cgroup", "cgroup2")
        ]

    def _log_tails(self) -> str:
        logs = sorted(self.directory.glob("*.log"))
        return "\n".join(f"-- {log.name}\n{log.read_text(errors='replace')[-1500:]}" for log in logs)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _run(
    command: Sequence[str],
    data: str | None = None,
    within: float = _COMMAND_SECONDS,
    environment: Mapping[str, str] | None = None,
) -> str:
    done = subprocess.run(
        command,
        input=data or "",
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        timeout=within,
        check=False,
    )
    if done.returncode:
        said = done.stderr.strip() or done.stdout.strip()
        raise CommandFailed(f"{' '.join(command)}: exit code {done.returncode}: {said}")
    return done.stdout


def _network_of(pid: int) -> str:
    return os.readlink(f"/proc/{pid}/ns/net")


def _removed(group: Path) -> bool:
    """Remove a control group with all below it; False while a process is still ending in it."""
    try:
        for path, _, _ in os.walk(group, topdown=False):
            os.rmdir(path)
    except OSError:
        return False
    return True
