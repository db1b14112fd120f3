"""What the stream says about itself, for those who read the log and the figures."""

from __future__ import annotations

import errno
import logging
from collections.abc import Sequence

from inotify_bridge.capture.change import Notice
from inotify_bridge.events.names import encode as encode_name
from inotify_bridge.metrics import GroupMetrics

_ADVICE = {
    "ENOENT": "there is no such directory: is its volume mounted?",
    "ENOTDIR": "there is no such directory: is its volume mounted?",
    "ESTALE": "another or an empty directory is in its place: is its volume mounted?",
    "ELOOP": "a symbolic link is in its place",
    "EACCES": "this user may not read it",
}

_log = logging.getLogger("inotify_bridge.group")


def tell(notice: Notice, group: str, metrics: GroupMetrics, places: Sequence[bytes] = ()) -> None:
    """
    Log and count a notice. On the recorder's thread.

    Args:
        places: absolute paths of the roots that the notice is about.
    """
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
        where = ", ".join(encode_name(place) for place in places) or path
        where += f" ({path} in the stream)" if path and places else ""
        advice = _ADVICE.get(str(data["error"]), "check its volume and its permissions")
        _log.error(
            "root lost (%s): %s: %s; nothing is taken for deleted",
            data["error"],
            where,
            advice,
            extra=fields,
        )
    else:
        _log.info("stream.%s%s", notice.kind, f" {path}" if path else "", extra=fields)
