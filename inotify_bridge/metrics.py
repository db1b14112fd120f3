"""
Every metric of the agent: one table, and the objects through which the threads write it.

`CATALOGUE` is the only place where a metric is named; docs/metrics.md is generated from it
(``python -m inotify_bridge.metrics``).

All series exist from `Metrics.configure` on, and every label value comes from the configuration or from this
table. Neither the tree nor the traffic can add a series.
"""

# ruff: noqa: E501  (one line a metric: the table is read down its columns)

from __future__ import annotations

import errno
import platform
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.registry import Collector

from inotify_bridge import __version__
from inotify_bridge.capture.constants import EVENT_NAMES
from inotify_bridge.errors import SINK_ERROR_REASONS, STORE_ERROR_REASONS
from inotify_bridge.events.event import DIRECTORY_KINDS, FILE_KINDS, LOG_KINDS, STREAM_KINDS
from inotify_bridge.metric_series import Family, Metric, Series, Value
from inotify_bridge.sinks.base import Message

PROCESS: Final = ()
GROUP: Final = ("watch_group",)
SINK: Final = ("sink",)
PAIR: Final = ("watch_group", "sink")

# fmt: off
EVENT_TYPES: Final = (*FILE_KINDS.values(), *DIRECTORY_KINDS.values(), *STREAM_KINDS.values(), *LOG_KINDS.values())
EPOCH_REASONS: Final = ("new", "missing", "corrupt", "note_missing", "restored", "rolled_back", "sink_ahead", "changed", "root", "requested")
RESYNC_REASONS: Final = ("start", "overflow", "restart", "state_lost", "root", "audit", "requested", "reload", "internal")
LATENCY_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
RESYNC_BUCKETS: Final = (0.01, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 1800.0)
# fmt: on

_LOG_COUNTERS: Final = {LOG_KINDS["entry"]: "log_entries", LOG_KINDS["rejected"]: "log_rejected"}

WATCH_ERRORS: Final[dict[int, str]] = {
    errno.ENOSPC: "limit",
    errno.EMFILE: "limit",
    errno.EACCES: "permission",
    errno.EPERM: "permission",
    errno.ENOMEM: "memory",
    errno.ENOENT: "gone",
    errno.ENOTDIR: "gone",
}
WATCH_ERROR_REASONS: Final = (*dict.fromkeys(WATCH_ERRORS.values()), "other")


def _counter(scope: tuple[str, ...], name: str, help: str, **labels: tuple[str, ...]) -> Metric:
    return Metric("counter", scope, name, help, labels)


def _gauge(scope: tuple[str, ...], name: str, help: str, **labels: tuple[str, ...]) -> Metric:
    return Metric("gauge", scope, name, help, labels)


def _histogram(scope: tuple[str, ...], name: str, help: str, buckets: tuple[float, ...]) -> Metric:
    return Metric("histogram", scope, name, help, {}, buckets)


# fmt: off
CATALOGUE: Final = (
    _gauge(PROCESS, "build_info", "Always 1; the version of the agent and of Python are its labels.", version=(__version__,), python_version=(platform.python_version(),)),
    _gauge(PROCESS, "config_last_reload_successful", "1 when the last load of the configuration succeeded, 0 when the old one stayed in force."),
    _gauge(PROCESS, "config_last_reload_success_timestamp_seconds", "Unix time of the last successful load of the configuration."),
    _counter(PROCESS, "config_reloads", "Reloads asked for after the start.", result=("success", "failure")),
    _gauge(PROCESS, "kernel_queue_limit_events", "fs.inotify.max_queued_events."),
    _gauge(PROCESS, "watches_limit", "Watches that this user may hold: the smallest limit in force."),
    # From the kernel to the recorder.
    _counter(GROUP, "kernel_events", "inotify records read, by mask bit.", event=tuple(EVENT_NAMES.values())),
    _counter(GROUP, "kernel_reads", "read(2) calls that returned inotify records."),
    _counter(GROUP, "kernel_read_bytes", "Bytes of inotify records read."),
    _gauge(GROUP, "kernel_queue_bytes", "Bytes waiting in the kernel's queue at the scrape (FIONREAD)."),
    _counter(GROUP, "kernel_queue_overflows", "IN_Q_OVERFLOW records: the kernel lost events, and a resync repairs the stream."),
    _gauge(GROUP, "capture_queue_bytes", "Bytes read from the kernel and not yet taken by the recorder."),
    _gauge(GROUP, "capture_queue_limit_bytes", "capture.queue_max_bytes."),
    _gauge(GROUP, "notifier_up", "1 while the notifier thread runs."),
    _gauge(GROUP, "notifier_last_loop_timestamp_seconds", "Unix time of the notifier's last turn."),
    _counter(GROUP, "notifier_cpu_seconds", "CPU time of the notifier thread."),
    _gauge(GROUP, "recorder_up", "1 while the recorder thread runs."),
    _gauge(GROUP, "recorder_last_loop_timestamp_seconds", "Unix time of the recorder's last turn."),
    _counter(GROUP, "recorder_cpu_seconds", "CPU time of the recorder thread."),
    _counter(GROUP, "group_restarts", "Times the threads of the group were restarted after one of them died."),
    # Coverage and agreement with the disk.
    _gauge(GROUP, "roots_lost", "Roots that are gone, replaced or not to be read now; nothing of them is taken for deleted."),
    _gauge(GROUP, "watches", "inotify watches held."),
    _gauge(GROUP, "watches_uncovered", "Directories that inotify does not cover: they are polled."),
    _counter(GROUP, "watch_errors", "Directories found to be out of inotify's reach, by reason.", reason=WATCH_ERROR_REASONS),
    _gauge(GROUP, "consistent", "1 when the stream agrees with the disk as far as is known; 0 before the first snapshot and from a loss to the end of its resync."),
    _counter(GROUP, "resyncs", "Resyncs started, by reason.", reason=RESYNC_REASONS),
    _histogram(GROUP, "resync_duration_seconds", "Time from the start of a resync to its completion.", RESYNC_BUCKETS),
    _counter(GROUP, "events", "Events recorded in the outbox, by CloudEvents type without prefix and version.", type=EVENT_TYPES),
    # Followed log files.
    _counter(GROUP, "log_entries", "Entries of log files recorded."),
    _counter(GROUP, "log_rejected", "Entries recorded as rejected: they are not what `lines.pattern` and `lines.fields` say."),
    _counter(GROUP, "log_bytes_read", "Bytes of log files read."),
    _counter(GROUP, "log_bytes_lost", "Bytes of log files that are known to have been there and could not be read any more."),
    _gauge(GROUP, "log_lag_bytes", "Bytes of log files that are known to be there and are in no recorded entry yet."),
    _gauge(GROUP, "log_files", "Log files followed, rotated ones included."),
    # The outbox.
    _gauge(GROUP, "outbox_events", "Events in the journal that some sink has not acknowledged."),
    _gauge(GROUP, "outbox_bytes", "Bytes of the journal that count against the limit."),
    _gauge(GROUP, "outbox_limit_bytes", "state.max_bytes."),
    _gauge(GROUP, "outbox_oldest_event_age_seconds", "Age of the oldest event that some sink has not acknowledged; 0 when there is none."),
    _gauge(GROUP, "outbox_blocked", "1 while the journal is full and the recorder takes nothing from the kernel."),
    _counter(GROUP, "commit_errors", "Commits that failed, by reason; nothing is published of a batch that is not committed.", reason=STORE_ERROR_REASONS),
    _gauge(GROUP, "commit_failing", "1 while a batch cannot be committed: nothing new is published until it is."),
    _counter(GROUP, "epochs", "Epochs begun, by reason; each starts with a full snapshot.", reason=EPOCH_REASONS),
    _counter(GROUP, "state_databases_set_aside", "Damaged state databases that were set aside."),
    _gauge(PAIR, "outbox_blocking_sink", "1 while the journal of the group is full and this sink is what fills it."),
    # From the outbox to the broker.
    _gauge(PAIR, "sink_connected", "1 while the sink is connected."),
    _counter(PAIR, "sink_connects", "Connections established; all but the first are reconnects."),
    _counter(PAIR, "sink_sent_events", "Messages handed to the sink, repeats included."),
    _counter(PAIR, "sink_sent_bytes", "Bytes of envelopes handed to the sink, repeats included."),
    _counter(PAIR, "sink_acked_events", "Messages that the broker confirmed."),
    _counter(PAIR, "sink_retried_events", "Messages sent again after a failure."),
    _counter(PAIR, "sink_errors", "Failures of the sink, by reason.", reason=SINK_ERROR_REASONS),
    _gauge(PAIR, "sink_inflight_events", "Messages sent and not yet confirmed."),
    _gauge(PAIR, "sink_lag_events", "Messages recorded and not yet confirmed by this sink."),
    _gauge(PAIR, "sink_last_ack_timestamp_seconds", "Unix time of the last confirmation; 0 before the first."),
    _histogram(PAIR, "sink_ack_duration_seconds", "Time from handing a batch to the sink to its confirmation.", LATENCY_BUCKETS),
    _histogram(PAIR, "event_latency_seconds", "Time from the notifier's read of an event to its confirmation by the broker.", LATENCY_BUCKETS),
    _counter(PAIR, "sink_parked_events", "Messages set aside because the broker would never take them."),
    _counter(PAIR, "sink_rejected_rows", "Events that stand in a table of rejected ones because the database refused their rows."),
    _gauge(PAIR, "parked_events", "Messages set aside now, waiting for an operator."),
    _counter(PAIR, "events_dropped", "Parked messages that an operator dropped. Anything else is a bug."),
    _gauge(SINK, "sink_insecure", "1 when the sink's configuration turns a protection off (no TLS to another host, certificate not verified)."),
)
# fmt: on


class GroupMetrics:
    """What the threads of one watch group write. Every call is cheap and may come from any thread."""

    def __init__(self, series: Series, group: str) -> None:
        owner = (group,)
        self._series = series
        self._owner = owner
        self._kernel_events = series.by_label("kernel_events", owner)
        self._events = series.by_label("events", owner)
        self._watch_errors = series.by_label("watch_errors", owner)
        self._resyncs = series.by_label("resyncs", owner)
        self._reads = self._value("kernel_reads")
        self._read_bytes = self._value("kernel_read_bytes")
        self._overflows = self._value("kernel_queue_overflows")
        self._watches = self._value("watches")
        self._uncovered = self._value("watches_uncovered")
        self._outbox_events = self._value("outbox_events")
        self._outbox_bytes = self._value("outbox_bytes")
        self._oldest: float | None = None
        self._value("outbox_oldest_event_age_seconds").follow(self._oldest_age)

    def _value(self, name: str) -> Value:
        return self._series.values[name][self._owner]

    def _oldest_age(self) -> float:
        oldest = self._oldest
        return 0.0 if oldest is None else max(0.0, time.time() - oldest)

    # The notifier.

    def kernel_read(self, size: int) -> None:
        """One read(2) returned `size` bytes."""
        self._reads.add(1)
        self._read_bytes.add(size)

    def notifier_up(self, up: bool) -> None:
        """Whether the notifier thread runs."""
        self._value("notifier_up").set(up)

    # The recorder.

    def recorder_up(self, up: bool) -> None:
        """Whether the recorder thread runs."""
        self._value("recorder_up").set(up)

    def count_kernel_events(self, counts: Mapping[str, int]) -> None:
        """Records of a batch by mask name (`capture.constants.EVENT_NAMES`); overflows are counted from them."""
        for name, count in counts.items():
            self._kernel_events[name].add(count)
        if overflows := counts.get("q_overflow"):
            self._overflows.add(overflows)

    def count_events(self, counts: Mapping[str, int]) -> None:
        """Events of a recorded batch by kind, for example ``file.written`` (`EVENT_TYPES`)."""
        for kind, count in counts.items():
            self._events[kind].add(count)
            if kind in _LOG_COUNTERS:
                self._value(_LOG_COUNTERS[kind]).add(count)

    def log_read(self, size: int, lost: int) -> None:
        """So many bytes of log files were read, and so many are lost."""
        self._value("log_bytes_read").add(size)
        self._value("log_bytes_lost").add(lost)

    def watches(self, held: int, uncovered: int) -> None:
        """Watches held, and directories polled instead."""
        self._watches.set(held)
        self._uncovered.set(uncovered)

    def watch_error(self, number: int) -> None:
        """A directory could not be watched, with this errno."""
        self._watch_errors[WATCH_ERRORS.get(number, "other")].add(1)

    def resync_started(self, reason: str) -> None:
        """A resync began, for one of `RESYNC_REASONS`."""
        self._resyncs[reason].add(1)

    def resync_completed(self, seconds: float) -> None:
        """A resync ended after so many seconds."""
        self._series.histograms["resync_duration_seconds"][self._owner].observe((seconds,))

    def consistent(self, consistent: bool) -> None:
        """Whether the stream agrees with the disk as far as is known."""
        self._value("consistent").set(consistent)

    def outbox(self, events: int, size: int, oldest: float | None) -> None:
        """
        State of the journal.

        Args:
            events: not acknowledged by every sink.
            size: bytes that count against the limit.
            oldest: Unix time of the oldest such event, or None.
        """
        self._outbox_events.set(events)
        self._outbox_bytes.set(size)
        self._oldest = oldest

    def outbox_blocked(self, blocked: bool) -> None:
        """Whether the journal is full and the recorder takes nothing from the kernel."""
        self._value("outbox_blocked").set(blocked)

    def commit_failed(self, reason: str) -> None:
        """A batch could not be committed, for one of `errors.STORE_ERROR_REASONS`: what it says is not told."""
        self._series.by_label("commit_errors", self._owner)[reason].add(1)
        self._value("commit_failing").set(1)
        self.consistent(False)

    def committing(self) -> None:
        """Batches are committed (again)."""
        self._value("commit_failing").set(0)

    def epoch_begun(self, reason: str) -> None:
        """An epoch was minted, for one of `EPOCH_REASONS`."""
        self._series.by_label("epochs", self._owner)[reason].add(1)

    def set_aside(self, count: int) -> None:
        """So many damaged databases were set aside."""
        self._value("state_databases_set_aside").add(count)

    # The agent.

    def limits(self, outbox_bytes: int, capture_queue_bytes: int) -> None:
        """The configured bounds, in bytes."""
        self._value("outbox_limit_bytes").set(outbox_bytes)
        self._value("capture_queue_limit_bytes").set(capture_queue_bytes)

    def restarted(self) -> None:
        """The group's threads were restarted after one of them died."""
        self._value("group_restarts").add(1)

    def follow(
        self,
        *,
        kernel_queue_bytes: Callable[[], float],
        capture_queue_bytes: Callable[[], float],
        notifier_cpu_seconds: Callable[[], float],
        recorder_cpu_seconds: Callable[[], float],
        notifier_last_loop_timestamp_seconds: Callable[[], float],
        recorder_last_loop_timestamp_seconds: Callable[[], float],
        roots_lost: Callable[[], float],
    ) -> None:
        """Set what is asked at a scrape, on its thread. A source that raises OSError or ValueError gives NaN."""
        self._value("kernel_queue_bytes").follow(kernel_queue_bytes)
        self._value("capture_queue_bytes").follow(capture_queue_bytes)
        self._value("notifier_cpu_seconds").follow(notifier_cpu_seconds)
        self._value("recorder_cpu_seconds").follow(recorder_cpu_seconds)
        self._value("notifier_last_loop_timestamp_seconds").follow(notifier_last_loop_timestamp_seconds)
        self._value("recorder_last_loop_timestamp_seconds").follow(recorder_last_loop_timestamp_seconds)
        self._value("roots_lost").follow(roots_lost)

    def follow_logs(self, files: Callable[[], float], lag_bytes: Callable[[], float]) -> None:
        """The same for the log files of a group that follows any."""
        self._value("log_files").follow(files)
        self._value("log_lag_bytes").follow(lag_bytes)


class RelayMetrics:
    """What one relay writes: the observer of `outbox.relay`. Every call may come from any thread."""

    def __init__(self, series: Series, group: str, sink: str) -> None:
        owner = (group, sink)
        self._series = series
        self._owner = owner
        self._errors = series.by_label("sink_errors", owner)
        self._sent = self._value("sink_sent_events")
        self._sent_bytes = self._value("sink_sent_bytes")
        self._acked = self._value("sink_acked_events")
        self._inflight = self._value("sink_inflight_events")
        self._last_ack = self._value("sink_last_ack_timestamp_seconds")
        self._ack_duration = series.histograms["sink_ack_duration_seconds"][owner]
        self._latency = series.histograms["event_latency_seconds"][owner]

    def _value(self, name: str) -> Value:
        return self._series.values[name][self._owner]

    def connected(self, up: bool) -> None:
        """Whether the sink is connected."""
        self._value("sink_connected").set(up)

    def connects(self) -> None:
        """A connection was established."""
        self._value("sink_connects").add(1)

    def sent(self, count: int, size: int) -> None:
        """So many messages with so many bytes of envelopes were handed to the sink."""
        self._sent.add(count)
        self._sent_bytes.add(size)

    def acked(self, messages: Sequence[Message], seconds: float) -> None:
        """The broker confirmed these messages, so many seconds after they were handed to the sink."""
        now = time.time()
        self._acked.add(len(messages))
        self._last_ack.set(now)
        self._ack_duration.observe((seconds,))
        self._latency.observe([now - message.time for message in messages])

    def retried(self, count: int) -> None:
        """So many messages are sent again."""
        self._value("sink_retried_events").add(count)

    def error(self, reason: str) -> None:
        """The sink failed. A reason that a third party's sink made up counts as ``other``: labels are bounded."""
        self._errors.get(reason, self._errors["other"]).add(1)

    def parked(self, count: int) -> None:
        """So many messages were set aside."""
        self._value("sink_parked_events").add(count)

    def set_aside(self, count: int) -> None:
        """The sink stored so many messages apart from the others."""
        self._value("sink_rejected_rows").add(count)

    def parked_now(self, count: int) -> None:
        """So many messages are set aside in all; the recorder counts them, for it is who knows."""
        self._value("parked_events").set(count)

    def dropped(self, count: int) -> None:
        """An operator dropped so many parked messages."""
        self._value("events_dropped").add(count)

    def inflight(self, count: int) -> None:
        """So many messages are sent and not yet confirmed."""
        self._inflight.set(count)

    def lag(self, count: int) -> None:
        """So many recorded messages are not yet confirmed by this sink."""
        self._value("sink_lag_events").set(count)

    def blocking(self, blocking: bool) -> None:
        """Whether this sink is what fills the group's journal."""
        self._value("outbox_blocking_sink").set(blocking)


class Metrics(Collector):
    """
    All metrics of one agent.

    Args:
        registry: where they are exposed.
        groups: names of the watch groups.
        pairs: (group, sink) for every relay.

    `configure` may be called again at a reload, from one thread.
    """

    def __init__(
        self, registry: CollectorRegistry, groups: Sequence[str], pairs: Sequence[tuple[str, str]]
    ) -> None:
        self._series = Series(CATALOGUE)
        self._groups: dict[str, GroupMetrics] = {}
        self._relays: dict[tuple[str, str], RelayMetrics] = {}
        self.configure(groups, pairs)
        self._series.values["build_info"][(__version__, platform.python_version())].set(1)
        self._loaded(True, time.time())  # a configuration was loaded, or there were no names to give
        registry.register(self)

    def configure(self, groups: Sequence[str], pairs: Sequence[tuple[str, str]]) -> None:
        """Make the series of what is configured now, keep the values of what stays, drop the series of the rest."""
        sinks = dict.fromkeys(sink for _, sink in pairs)
        series = self._series.configured(
            {
                PROCESS: [()],
                GROUP: [(group,) for group in groups],
                SINK: [(sink,) for sink in sinks],
                PAIR: list(pairs),
            }
        )
        self._groups = {g: self._groups.get(g) or GroupMetrics(series, g) for g in groups}
        self._relays = {p: self._relays.get(p) or RelayMetrics(series, *p) for p in pairs}
        self._series = series

    def group(self, name: str) -> GroupMetrics:
        """The metrics of a configured group; KeyError otherwise."""
        return self._groups[name]

    def relay(self, group: str, sink: str) -> RelayMetrics:
        """The metrics of a configured pair; KeyError otherwise."""
        return self._relays[group, sink]

    def insecure(self, sink: str, insecure: bool) -> None:
        """Whether the configuration of a sink turns a protection off."""
        self._series.values["sink_insecure"][(sink,)].set(insecure)

    def follow_limits(self, queued_events: Callable[[], float], user_watches: Callable[[], float]) -> None:
        """Set where the kernel's limits are read at a scrape, on its thread."""
        self._series.values["kernel_queue_limit_events"][()].follow(queued_events)
        self._series.values["watches_limit"][()].follow(user_watches)

    def reloaded(self, ok: bool, at: float) -> None:
        """A reload was tried at this Unix time, and the new configuration is in force or was refused."""
        self._series.by_label("config_reloads", ())["success" if ok else "failure"].add(1)
        self._loaded(ok, at)

    def _loaded(self, ok: bool, at: float) -> None:
        self._series.values["config_last_reload_successful"][()].set(ok)
        if ok:
            self._series.values["config_last_reload_success_timestamp_seconds"][()].set(at)

    def describe(self) -> Iterator[Family]:
        """The names, so that the registry refuses a second agent and can select by name."""
        return Series(CATALOGUE).families()

    def collect(self) -> Iterator[Family]:
        """All metrics, for a scrape; on any thread."""
        return self._series.families()


def register_process_metrics(registry: CollectorRegistry) -> None:
    """Add the ``process_*`` and ``python_*`` metrics that every Python service exposes."""
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)


def reference() -> str:
    """The catalogue as Markdown: docs/metrics.md."""
    rows = [
        f"| `{m.exposed_name}` | {m.kind} | {', '.join(f'`{name}`' for name in m.label_names)} | {m.help} |"
        for m in CATALOGUE
    ]
    enumerated = {
        f"`{m.exposed_name}`, `{label}`": ", ".join(f"`{value}`" for value in values)
        for m in CATALOGUE
        for label, values in m.labels.items()
        if m.name != "build_info"
    }
    return _REFERENCE.format(
        rows="\n".join(rows), values="\n".join(f"- {head}: {values}" for head, values in enumerated.items())
    )


_REFERENCE: Final = """\
# Metrics

Generated from the catalogue in `inotify_bridge/metrics.py` by `python -m inotify_bridge.metrics`; do not edit.

Served at `/metrics` in the Prometheus text format, or as OpenMetrics where the scraper asks for it. Every series
exists from the start, and label values come from the configuration or from the lists below: no path and no file
name is ever a label, so the number of series depends on neither the tree nor the traffic. A gauge that cannot be read
at a scrape is `NaN`. The usual `process_*` and `python_*` metrics are served too.

| metric | type | labels | meaning |
|---|---|---|---|
{rows}

## Values of labels

- `watch_group`, `sink`: names from the configuration
{values}
"""

if __name__ == "__main__":
    sys.stdout.write(reference())
