"""The panels of followed log files, which stand on the board of a watch group."""

from __future__ import annotations

from typing import Final

from monitoring.boards.frame import AnyPanel
from monitoring.boards.panels import Query, about, graph
from monitoring.boards.series import GROUP, of, rate, rises

_GROUP: Final = "{{instance}} {{watch_group}}"
_BY: Final = "by (instance, watch_group)"


def panels() -> list[AnyPanel]:
    """All of them; of a group that follows no logs they show 0."""
    return [
        graph(
            "Entries",
            about(
                "Entries of log files recorded in a second. 0 for a group that follows none.",
                "nothing: this is the traffic.",
            ),
            "eps",
            Query(f"sum {_BY} ({rate(GROUP, 'log_entries_total')})", _GROUP),
        ),
        graph(
            "Entries rejected",
            about(
                "Entries a second that are not what lines.pattern and lines.fields say. They are published "
                "as log.rejected, with the raw text.",
                "look at some (`inotify-bridge tap`), and mend the pattern.",
                runbook="LogEntriesRejected",
            ),
            "eps",
            Query(f"sum {_BY} ({rate(GROUP, 'log_rejected_total')})", _GROUP),
        ),
        graph(
            "Bytes behind the end of the files",
            about(
                "Bytes that are known to be there and are in no entry yet. A line without its end waits, "
                "and counts.",
                "if it rises: is the outbox full, the recorder at 100 % CPU?",
                runbook="LogLagGrowing",
            ),
            "bytes",
            Query(of(GROUP, "log_lag_bytes"), _GROUP),
        ),
        graph(
            "Bytes read",
            about("Bytes of log files read in a second.", "nothing: this is the load."),
            "Bps",
            Query(f"sum {_BY} ({rate(GROUP, 'log_bytes_read_total')})", _GROUP),
        ),
        graph(
            "Files followed",
            about(
                "Log files, rotated ones included as long as they may grow.",
                "0 where there should be some: does lines.files name them?",
            ),
            "short",
            Query(of(GROUP, "log_files"), _GROUP),
        ),
        graph(
            "Bytes lost",
            about(
                "Bytes that are known to have been there and could not be read any more.",
                "rotate by renaming, with delaycompress (docs/log-monitor.md).",
                runbook="LogBytesLost",
            ),
            "bytes",
            Query(f"sum {_BY} ({rises(GROUP, 'log_bytes_lost_total')})", _GROUP),
            bars=True,
        ),
    ]
