"""
The programs of the cluster, built once and kept in the cache of the tests.

    python -m tests.cluster.programs        build what is missing (twenty minutes), say where it is

They come as Go modules, like any package, pinned and checked. ``go install`` refuses ``k8s.io/kubernetes``,
whose go.mod points at folders of its own repository: a throw-away module repeats its requirements with the
published modules in place of the folders.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

from tests.brokers.broker import cache_directory
from tests.charts.helm import fetch

SOURCES = Path(__file__).parent / "go"
CONTROL_VERSION = "1.36.3"
# The last that serves with containerd 1.6, which is Debian 12's; one minor behind the API server may be two.
KUBELET_VERSION = "1.34.4"
_GO = {"GOFLAGS": "-mod=mod", "GOWORK": "off", "CGO_ENABLED": "0"}


class Programs(NamedTuple):
    """
    Paths of executables.

    Args:
        control: etcd, the API server, the controllers, the scheduler and kubectl, by its first argument.
        kubelet: the node's agent.
        pause: what holds a pod's namespaces.
        helm: the one of the charts' own tests.
    """

    control: Path
    kubelet: Path
    pause: Path
    helm: Path


def programs() -> Programs:
    """
    Build what is not there yet.

    Raises:
        subprocess.CalledProcessError, FileNotFoundError: there is no Go, or a module cannot be had.
        HelmError: helm cannot be had.
    """
    place = cache_directory() / "kube"
    place.mkdir(parents=True, exist_ok=True)
    return Programs(
        _kubernetes(place, "control", CONTROL_VERSION),
        _kubernetes(place, "kubelet", KUBELET_VERSION),
        _pause(place),
        fetch(),
    )


def missing() -> str:
    """Why the programs cannot be built here; empty where they are there or can be."""
    return "" if shutil.which("go") else "Go is not installed: https://go.dev/doc/install"


def _kubernetes(place: Path, name: str, version: str) -> Path:
    source = SOURCES / name / "main.go"
    target = place / f"{name}-{version}-{_digest(source)}"
    if not target.exists():
        with tempfile.TemporaryDirectory(prefix="inotify-bridge-go-") as scratch:
            work = Path(scratch)
            shutil.copy(source, work)
            module = f"k8s.io/kubernetes@v{version}"
            found = json.loads(_run(["go", "mod", "download", "-json", module], work))
            (work / "go.mod").write_text(_with_published_modules(Path(found["GoMod"]).read_text(), version))
            _run(["go", "mod", "edit", f"-require={module}"], work)
            _run(["go", "build", "-trimpath", "-ldflags", _flags(version), "-o", "built", "."], work)
            _keep(work / "built", target)
    return target


def _with_published_modules(text: str, version: str) -> str:
    """Kubernetes' go.mod for another module: k8s.io/api ./staging/… of v1.36.3 is published as v0.36.3."""
    published = f"v0.{version.removeprefix('1.')}"
    text = re.sub(r"^module .*", "module programs", text, flags=re.MULTILINE)
    text = re.sub(r"(k8s\.io/[a-z-]+) => \./staging/\S+", rf"\1 => \1 {published}", text)
    return re.sub(r"^(?:tool|ignore) (?:\([^)]*\)|.*)$", "", text, flags=re.MULTILINE)


def _flags(version: str) -> str:
    major, minor, _ = version.split(".")
    told = {"gitVersion": f"v{version}", "gitMajor": major, "gitMinor": minor}
    return " ".join(("-s -w", *(f"-X k8s.io/component-base/version.{key}={to}" for key, to in told.items())))


def _pause(place: Path) -> Path:
    source = SOURCES / "pause" / "main.go"
    target = place / f"pause-{_digest(source)}"
    if not target.exists():
        with tempfile.TemporaryDirectory(prefix="inotify-bridge-go-") as scratch:
            built = Path(scratch) / "built"
            _run(["go", "build", "-trimpath", "-ldflags=-s -w", "-o", str(built), str(source)], Path(scratch))
            _keep(built, target)
    return target


def _digest(source: Path) -> str:
    return blake2b(source.read_bytes(), digest_size=4).hexdigest()


def _keep(built: Path, target: Path) -> None:
    """Under its name only when it is whole: the next run takes whatever has it."""
    partial = target.with_suffix(".partial")
    shutil.copy2(built, partial)
    partial.rename(target)


def _run(command: Sequence[str], directory: Path) -> str:
    done = subprocess.run(
        command,
        cwd=directory,
        env={**os.environ, **_GO},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return done.stdout


if __name__ == "__main__":
    for path in programs():
        os.write(1, f"{path}\n".encode())
