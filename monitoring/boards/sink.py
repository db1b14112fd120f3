"""The board of a sink: what it was given, what it confirmed, how long that took, what it refused."""

from __future__ import annotations

from typing import Final

from grafana_foundation_sdk.builders import dashboard

from monitoring.boards.frame import INSTANCE, JOB, SINK, WATCH_GROUP, AnyPanel, Section, frame
from monitoring.boards.panels import BAD, LOOK, PLAIN, Query, about, figure, graph
from monitoring.boards.series import SINK as SCOPE
from monitoring.boards.series import of, quantile, rate, rise, rises

UID: Final = "inotify-bridge-sink"

_PAIR: Final = "{{sink}} ({{instance}} {{watch_group}})"


def board() -> dashboard.Dashboard:
    """The board, to be built."""
    return frame(
        UID,
        "inotify-bridge: sink",
        "The way out: from the outbox to the confirmation of the broker or the database.",
        [JOB, INSTANCE, WATCH_GROUP, SINK],
        [
            Section("Now", _now()),
            Section("Traffic", _traffic()),
            Section("How long it takes", _delay()),
            Section("The connection", _connection()),
            Section("What was refused", _refused()),
        ],
    )


def _now() -> list[AnyPanel]:
    return [
        figure(
            "Connections away",
            about(
                "Pairs of a watch group and a sink that are not connected. It is tried again for ever.",
                "the errors below say what the broker said; `inotify-bridge test-sink NAME` tries it step "
                "by step.",
                runbook="SinkDisconnected",
                operations="A sink is unavailable",
            ),
            "short",
            f"sum(1 - {of(SCOPE, 'sink_connected')})",
            [(1, BAD)],
        ),
        figure(
            "Events waiting",
            about(
                "Recorded events that the sink has not confirmed.",
                "if it only rises the sink is away or too slow.",
                runbook="DeliveryLagging",
            ),
            "short",
            f"sum({of(SCOPE, 'sink_lag_events')})",
            base=PLAIN,
            sparkline=True,
        ),
        figure(
            "99 % delivered within",
            about(
                "From the notifier's read to the confirmation, of what was confirmed in the time shown. "
                "Between one minute and five it is rough, and beyond it says five.",
                "compare with the time that a confirmation takes, below: what is more was waited here.",
                runbook="DeliveryLagging",
            ),
            "s",
            f"histogram_quantile(0.99, sum by (le) ({rise(SCOPE, 'event_latency_seconds_bucket')}))",
            [(60, LOOK), (300, BAD)],
        ),
        figure(
            "Last confirmation",
            about(
                "When the sink last confirmed anything. Long ago is right where nothing happens.",
                "long ago while events wait: the sink does not answer.",
                operations="A sink is unavailable",
            ),
            "dateTimeFromNow",
            f"max({of(SCOPE, 'sink_last_ack_timestamp_seconds')}) * 1000",
            base=PLAIN,
            words={"0": ("never", LOOK)},
        ),
        figure(
            "Messages set aside",
            about(
                "Messages that the broker would never take. They are kept, and wait for you.",
                "`inotify-bridge parked list` says why; then `parked retry` or `parked drop`.",
                runbook="MessagesParked",
                operations="A message is parked",
            ),
            "short",
            f"sum({of(SCOPE, 'parked_events')})",
            [(1, LOOK)],
        ),
        figure(
            "Without protection",
            about(
                "Sinks whose configuration turns a protection off: no TLS to another host, or no check of "
                "its certificate.",
                "turn TLS and the check on, unless the network is yours alone.",
                runbook="SinkInsecure",
            ),
            "short",
            f"sum(max by (job, instance, sink) ({_by_sink('sink_insecure')}))",
            [(1, LOOK)],
        ),
    ]


def _by_sink(name: str) -> str:
    """A metric that knows no group."""
    return of('job=~"$job", instance=~"$instance", sink=~"$sink"', name)


def _traffic() -> list[AnyPanel]:
    return [
        graph(
            "Messages sent and confirmed",
            about(
                "Messages a second. Sent again: after a failure everything from the first unconfirmed one "
                "is sent once more, so consumers see repeats.",
                "sent far above confirmed: the connection breaks again and again; see the errors.",
            ),
            "mps",
            Query(f"sum({rate(SCOPE, 'sink_sent_events_total')})", "sent, repeats included"),
            Query(f"sum({rate(SCOPE, 'sink_acked_events_total')})", "confirmed"),
            Query(f"sum({rate(SCOPE, 'sink_retried_events_total')})", "sent again"),
        ),
        graph(
            "Events waiting",
            about(
                "Recorded events that the sink has not confirmed.",
                "if it only rises the sink is away or too slow.",
                runbook="DeliveryLagging",
            ),
            "short",
            Query(of(SCOPE, "sink_lag_events"), _PAIR),
        ),
        graph(
            "Failures, by reason",
            about(
                "What went wrong with the sink. One now and then is a broker that restarts.",
                "auth, authorization, not_found: the configuration of one side. unroutable: bind a queue. "
                "timeout: the broker does not answer.",
                runbook="SinkDisconnected",
                operations="A sink is unavailable",
            ),
            "short",
            Query(f"sum by (reason) ({rises(SCOPE, 'sink_errors_total')})", "{{reason}}"),
            bars=True,
        ),
        graph(
            "Bytes sent",
            about("Bytes of messages handed to the sink in a second.", "nothing: this is the load."),
            "Bps",
            Query(f"sum by (sink) ({rate(SCOPE, 'sink_sent_bytes_total')})", "{{sink}}"),
        ),
        graph(
            "In flight",
            about(
                "Messages sent and not confirmed yet. At the sink's window it waits for confirmations.",
                "high for long: the broker is slow.",
            ),
            "short",
            Query(of(SCOPE, "sink_inflight_events"), _PAIR),
        ),
        graph(
            "Fills the outbox",
            about(
                "1 while the outbox of the group is full and this sink is what fills it: all sinks of the "
                "group wait for it.",
                "bring it back; or take it out of the group, which drops what it has not confirmed.",
                runbook="OutboxBlocked",
                operations="The journal is full",
            ),
            "short",
            Query(of(SCOPE, "outbox_blocking_sink"), _PAIR),
            stacked=True,
        ),
    ]


def _delay() -> list[AnyPanel]:
    return [
        graph(
            "From the disk to the confirmation",
            about(
                "How long events take from the notifier's read to the confirmation. Rough between one "
                "minute and five. No line: nothing was confirmed.",
                "compare with the graph beside it: what is more was waited here, for the sink or for the "
                "disk.",
                runbook="DeliveryLagging",
            ),
            "s",
            *_quantiles("event_latency_seconds"),
            steps=[(60, LOOK)],
            width=12,
        ),
        graph(
            "From sending a batch to its confirmation",
            about(
                "How long the broker or the database takes. No line: nothing was confirmed.",
                "rising: the broker is overloaded, or its disk is slow.",
            ),
            "s",
            *_quantiles("sink_ack_duration_seconds"),
            width=12,
        ),
    ]


def _quantiles(histogram: str) -> list[Query]:
    shares = (("half of them below", 0.5), ("95 % below", 0.95), ("99 % below", 0.99))
    return [Query(quantile(share, SCOPE, histogram), name) for name, share in shares]


def _connection() -> list[AnyPanel]:
    return [
        graph(
            "Not connected",
            about(
                "1 for each pair of a watch group and a sink that is not connected, one upon the other.",
                "the failures above say why.",
                runbook="SinkDisconnected",
                operations="A sink is unavailable",
            ),
            "short",
            Query(f"1 - {of(SCOPE, 'sink_connected')}", _PAIR),
            stacked=True,
            width=12,
        ),
        graph(
            "Connections made",
            about(
                "Each is one that was established; all but the first are reconnects.",
                "many: the network, or the broker ends them (heartbeats, limits); see its log.",
            ),
            "short",
            Query(f"sum by (instance, watch_group, sink) ({rises(SCOPE, 'sink_connects_total')})", _PAIR),
            bars=True,
            width=12,
        ),
    ]


def _refused() -> list[AnyPanel]:
    return [
        graph(
            "Set aside",
            about(
                "Messages that the broker would never take, kept until an operator decides.",
                "`inotify-bridge parked list` says why.",
                runbook="MessagesParked",
                operations="A message is parked",
            ),
            "short",
            Query(of(SCOPE, "parked_events"), _PAIR),
        ),
        graph(
            "Rows rejected by the database",
            about(
                "Events a second that stand in the table of rejected ones, because the database refused "
                "their rows.",
                "the column `reason` of that table has the database's words (docs/sql.md).",
                runbook="RowsRejected",
            ),
            "rowsps",
            Query(f"sum by (sink) ({rate(SCOPE, 'sink_rejected_rows_total')})", "{{sink}}"),
        ),
        graph(
            "Dropped by an operator",
            about(
                "Messages set aside that somebody dropped. Nothing else is ever dropped.",
                "if nobody did: report it.",
                runbook="EventsDropped",
                operations="A message is parked",
            ),
            "short",
            Query(f"sum by (instance, watch_group, sink) ({rises(SCOPE, 'events_dropped_total')})", _PAIR),
            bars=True,
        ),
    ]
