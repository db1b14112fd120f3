"""
oslo.log 5.0.0 (PyPI), OpenStack's logging: with watch_log_file it opens its log anew after a rotation.

A `ThreadedNotifier` with a loop of its own on `_stop_event`, `_sleep`, read_freq and timeout; a ProcessEvent
with my_init. Its metadata requires pyinotify>=0.9.6.
"""

from __future__ import annotations

from pathlib import Path

from tests.facade.programs.place import Place, says
from tests.waiting import eventually

_SERVICE = """
import signal, sys
from oslo_config import cfg
from oslo_log import log
configuration = cfg.ConfigOpts()
log.register_options(configuration)
configuration(["--log-file", sys.argv[1], "--watch-log-file"], project="service")
log.setup(configuration, "service")
logger = log.getLogger("service")
logger.warning("before")
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
for line in sys.stdin:
    logger.warning(line.strip())
while True:
    signal.pause()
"""
_HANDLER = "from oslo_log.watchers import FastWatchedFileHandler as it; print(it.__mro__[1].__name__)"


def run(place: Place, scratch: Path) -> list[str]:
    """The log is moved away twice, and is there again without a line being written."""
    place.install("oslo.log==5.0.0", "setuptools<81")  # a dependency of its time asks for pkg_resources
    place.run("-c", _HANDLER)
    logs, said = scratch / "logs", scratch / "service.out"
    logs.mkdir()
    log = logs / "service.log"
    with place.running(said, "-c", _SERVICE, log) as process:
        says(log, "before", "the first line")
        for number in (1, 2):
            log.rename(logs / f"service.log.{number}")
            eventually(log.exists, within=60, what="the new log")
    assert process.returncode == 0, said.read_text()
    assert "before" in (logs / "service.log.1").read_text()
    assert "Traceback" not in said.read_text()
    return ["opened anew after both rotations: " + " ".join(sorted(path.name for path in logs.iterdir()))]
