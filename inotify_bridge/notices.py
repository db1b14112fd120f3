"""What the stream says about itself, for those who read the log and the figures."""

from __future__ import annotations

import errno
import logging

from inotify_bridge.capture.change import Notice
from inotify_bridge.events.names import encode as encode_name
from inotify_bridge.metrics import GroupMetrics

_log = logging.getLogger("inotify_bridge.group")


def tell(notice: Notice, group: str, metrics: GroupMetrics) -> None:
    """Log and count a notice. On the recorder's thread."""
    data, fields = notice.data, {"watch_group": group}
    path = encode_name(notice.path) if notice.path else ""
    if notice.kind == "resync_started":
        metrics.resync_started(str(data["reason"]))
        _log.info("resync started: %s", data["reason"], extra=fields)
    elif notice.kind == "resync_completed":
        reason, entries, seconds = str(data["reason"]), int(data["entries"]), float(data["duration_seconds"])
        metrics.resync_completed(seconds)
        _log.info("resync completed: %s, %d entries in %.3f s", reason, entries, seconds, extra=fields)
    elif notice.kind == "coverage_degraded":
        metrics.watch_error(getattr(errno, str(data["error"]), 0))
        _log.warning("not covered by inotify (%s), polled: %s", data["error"], path or "/", extra=fields)
    elif notice.kind == "root_lost":
        _log.error("root lost (%s): %s", data["error"], path or "the only root", extra=fields)
    else:
        _log.info("stream.%s%s", notice.kind, f" {path}" if path else "", extra=fields)
