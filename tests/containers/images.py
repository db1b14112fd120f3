"""The images that the project builds on and composes with: pulled, or stand-ins where none can be pulled."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.brokers import KafkaBroker
from tests.containers.engine import ROOT, Engine, EngineError

_STANDINS = Path(__file__).with_name("standins")
_DEBIAN = "standin/debian"
_SUITE = "bookworm"
_PACKAGES = "python3,python3-venv,python3-pip,ca-certificates"
_AUTHORITIES = Path("/etc/ssl/certs/ca-certificates.crt")
_PATH = "PATH=/usr/local/bin:/usr/local/sbin:/usr/bin:/usr/sbin:/bin:/sbin"
# The last part of a published image's name, and what stands in for it.
_KINDS = ("python", "rabbitmq", "kafka", "prometheus")


def base_image() -> str:
    """The image that the Dockerfile builds on."""
    found = re.search(r"^ARG BASE_IMAGE=(\S+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert found is not None
    return found[1]


def provide(engine: Engine, image: str) -> str:
    """
    Have an image under its published name.

    A stand-in takes that name, in this engine alone: the project's own files are used as they are.

    Returns:
        Which one it is, in words.
    Raises:
        EngineError: it can be neither pulled nor made.
    """
    try:
        engine.docker("pull", "--quiet", image, within=600)
    except EngineError as refused:
        kind = image.rpartition("/")[2].partition(":")[0]
        if kind not in _KINDS:
            raise EngineError(
                f"there is no stand-in for {image}, and it cannot be pulled: {refused}"
            ) from None
        if not engine.has(image):
            _debian(engine)
            _stand_in(engine, kind, image)
        return f"{image}: a stand-in from Debian's packages"
    return f"{image}: pulled"


def _debian(engine: Engine) -> None:
    """A small Debian with Python, from the archive that this machine's apt knows."""
    if engine.has(_DEBIAN):
        return
    archive = engine.directory / f"{_SUITE}.tar"
    if not archive.exists():
        unfinished = archive.with_suffix(".unfinished.tar")
        unused = [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("doc", "man", "locale")]
        subprocess.run(
            [
                *("mmdebstrap", "--quiet", "--variant=minbase", f"--include={_PACKAGES}", *unused),
                *('--aptopt=Acquire::Check-Valid-Until "false"', _SUITE, os.fspath(unfinished)),
            ],
            check=True,
            capture_output=True,
            timeout=900,
        )
        unfinished.rename(archive)
    engine.docker("import", "--change", f"ENV {_PATH}", os.fspath(archive), _DEBIAN)


def _stand_in(engine: Engine, kind: str, image: str) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        context = Path(temporary)
        shutil.copytree(_STANDINS / kind, context, dirs_exist_ok=True)
        if kind == "python":
            shutil.copy(_AUTHORITIES, context)
        if kind == "kafka":
            shutil.copytree(KafkaBroker.fetch(), context / "jars")
            shutil.copy(ROOT / "tests" / "brokers" / "log4j2.properties", context)
        engine.build(image, context=context)
