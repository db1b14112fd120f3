"""The board of a watch group: from the kernel's queue to the outbox."""

from __future__ import annotations

from typing import Final

from grafana_foundation_sdk.builders import dashboard

from monitoring.boards import logs
from monitoring.boards.frame import INSTANCE, JOB, WATCH_GROUP, AnyPanel, Section, frame
from monitoring.boards.panels import BAD, GOOD, LOOK, PLAIN, Query, about, figure, graph
from monitoring.boards.series import GROUP, apart, of, rate, rise, rises, seen

UID: Final = "inotify-bridge-watch-group"

_GROUP: Final = "{{instance}} {{watch_group}}"
_BY: Final = "by (instance, watch_group)"


def board() -> dashboard.Dashboard:
    """The board, to be built."""
    return frame(
        UID,
        "inotify-bridge: watch group",
        "One watch group, in the order of its data: the kernel, the comparison with the disk, the outbox, "
        "the sinks.",
        [JOB, INSTANCE, WATCH_GROUP],
        [
            Section("Now", _now()),
            Section("Events", _events()),
            Section("From the kernel to the recorder", _kernel()),
            Section("Coverage, and comparisons with the disk", _coverage()),
            Section("The outbox", _outbox()),
            Section("Followed log files", logs.panels()),
            Section("Sinks of the group", _sinks()),
        ],
    )


def _now() -> list[AnyPanel]:
    return [
        figure(
            "In step with the disk",
            about(
                "Whether the stream agrees with the disk as far as is known. No: before the first snapshot, "
                "from a loss to the end of its resync, or while a root is lost.",
                "wait for the resync; if it stays, look for a lost root in the group's status.",
                runbook="NotConsistent",
                operations="A root is lost",
            ),
            "short",
            f"min({of(GROUP, 'consistent')})",
            words={"1": ("yes", GOOD), "0": ("NO", LOOK)},
        ),
        figure(
            "Longest standstill",
            about(
                "For how long the notifier or the recorder has not turned while the other did. Above a "
                "minute the group sees or records nothing.",
                "restart the agent, and report it with its log.",
                runbook="NotifierStalled",
                operations="Probes",
            ),
            "s",
            f"max(abs({apart(GROUP)}))",
            [(20, LOOK), (60, BAD)],
        ),
        figure(
            "Can write its state",
            about(
                "Whether batches can be committed to the state directory. No: nothing is lost, and nothing "
                "new is published.",
                "free space on its disk, or mend it; the group goes on by itself.",
                runbook="CommitFailing",
                operations="Messages of the log",
            ),
            "short",
            f"max({of(GROUP, 'commit_failing')})",
            words={"0": ("yes", GOOD), "1": ("NO", BAD)},
        ),
        figure(
            "Room in the outbox",
            about(
                "Whether the outbox takes events. Full: the recorder takes nothing from the kernel until a "
                "tenth is free.",
                "bring back the sink that is behind: its name is in the graph at the bottom.",
                runbook="OutboxBlocked",
                operations="The journal is full",
            ),
            "short",
            f"max({of(GROUP, 'outbox_blocked')})",
            words={"0": ("yes", GOOD), "1": ("FULL", BAD)},
        ),
        figure(
            "Oldest event waiting",
            about(
                "How long the oldest event waits for the confirmation of a sink.",
                "find the sink that is behind, in the graph at the bottom.",
                runbook="DeliveryLagging",
            ),
            "s",
            f"max({of(GROUP, 'outbox_oldest_event_age_seconds')})",
            [(60, LOOK), (300, BAD)],
            sparkline=True,
        ),
        figure(
            "Roots lost",
            about(
                "Roots that are gone, replaced or not to be read. Nothing of them is published as deleted.",
                "mount the volume, or make the directory; it is looked for every 2 s.",
                runbook="RootLost",
                operations="A root is lost",
            ),
            "short",
            f"sum({of(GROUP, 'roots_lost')})",
            [(1, BAD)],
        ),
    ]


def _events() -> list[AnyPanel]:
    return [
        graph(
            "Events recorded, by type",
            about(
                "Events a second in the stream of the group, of the types that occurred since the start.",
                "nothing: this is the traffic. Silence where there should be none: look at the root.",
            ),
            "eps",
            Query(
                seen(f"sum by (type) ({rate(GROUP, 'events_total')})", "type", GROUP, "events_total"),
                "{{type}}",
            ),
            stacked=True,
            aside=True,
            width=12,
        ),
        graph(
            "Records read from the kernel, by kind",
            about(
                "inotify records a second, before anything is decided about them: what programs do in the "
                "tree.",
                "many records and few events: exclude what nobody needs, it costs CPU.",
            ),
            "eps",
            Query(
                f"sum by (event) ({rate(GROUP, 'kernel_events_total')})",
                "{{event}}",
            ),
            stacked=True,
            aside=True,
            width=12,
        ),
    ]


def _kernel() -> list[AnyPanel]:
    return [
        graph(
            "Waiting in the kernel's queue",
            about(
                "Bytes of inotify records that the notifier has not read yet; mostly 0. When the queue is "
                "full it overflows.",
                "if it stays high the machine is too busy, or the outbox is full.",
                runbook="KernelQueueOverflow",
                operations="The kernel's queue overflows",
            ),
            "bytes",
            Query(of(GROUP, "kernel_queue_bytes"), _GROUP),
        ),
        graph(
            "Kernel queue overflows",
            about(
                "Each time the kernel lost events, and a resync had to repair it.",
                "if it happens often: make fs.inotify.max_queued_events larger, and see whether the outbox "
                "was full.",
                runbook="KernelQueueOverflow",
                operations="The kernel's queue overflows",
            ),
            "short",
            Query(f"sum {_BY} ({rises(GROUP, 'kernel_queue_overflows_total')})", _GROUP),
            bars=True,
        ),
        graph(
            "Capture queue filled",
            about(
                "What was read and the recorder has not taken, as a share of capture.queue_max_bytes. At "
                "100 % the notifier stops reading.",
                "the recorder is behind: is its CPU at 100 %, the disk slow, the outbox full?",
            ),
            "percentunit",
            Query(
                f"{of(GROUP, 'capture_queue_bytes')} / ({of(GROUP, 'capture_queue_limit_bytes')} > 0)", _GROUP
            ),
            steps=[(0.8, LOOK)],
            top=1,
        ),
        graph(
            "Bytes read from the kernel",
            about("inotify records read in a second.", "nothing: this is the load."),
            "Bps",
            Query(f"sum {_BY} ({rate(GROUP, 'kernel_read_bytes_total')})", _GROUP),
        ),
        graph(
            "Restarts after a failure",
            about(
                "How often threads of the group died and were restarted. After three the group is given up.",
                "report it, with the traceback in the log.",
                runbook="GroupRestarted",
                operations="Messages of the log",
            ),
            "short",
            Query(f"sum {_BY} ({rises(GROUP, 'group_restarts_total')})", _GROUP),
            bars=True,
        ),
        graph(
            "CPU of the threads",
            about(
                "Cores that the notifier and the recorder use: 100 % is one. They share one core with all "
                "others of the agent.",
                "a recorder at 100 % cannot keep up: exclude what nobody needs, or split the tree over "
                "agents.",
            ),
            "percentunit",
            Query(f"sum {_BY} ({rate(GROUP, 'notifier_cpu_seconds_total')})", f"{_GROUP} notifier"),
            Query(f"sum {_BY} ({rate(GROUP, 'recorder_cpu_seconds_total')})", f"{_GROUP} recorder"),
            width=8,
        ),
    ]


def _coverage() -> list[AnyPanel]:
    took = f"sum({rise(GROUP, 'resync_duration_seconds_sum')})"
    return [
        graph(
            "Watches held",
            about(
                "Directories that inotify covers.",
                "nothing; the overview compares them with the limit.",
                runbook="WatchLimitNear",
            ),
            "short",
            Query(of(GROUP, "watches"), _GROUP),
        ),
        graph(
            "Directories only polled",
            about(
                "Directories that inotify does not cover: what comes and goes between two polls is missed.",
                "the graph beside it has the reasons: raise the limit, give permission, or exclude them.",
                runbook="DirectoriesPolled",
                operations="Coverage is degraded",
            ),
            "short",
            Query(of(GROUP, "watches_uncovered"), _GROUP),
        ),
        graph(
            "Watches that could not be had, by reason",
            about(
                "Every try counts, and a try is made at every poll. `gone` is harmless: the directory went "
                "away.",
                "limit: raise fs.inotify.max_user_watches. permission: let the agent's user read the "
                "directory.",
                runbook="DirectoriesPolled",
                operations="Coverage is degraded",
            ),
            "short",
            Query(f"sum by (reason) ({rises(GROUP, 'watch_errors_total')})", "{{reason}}"),
            bars=True,
        ),
        graph(
            "Resyncs begun, by reason",
            about(
                "Comparisons of the tree with what was published. `audit` comes every resync_interval, "
                "`overflow` after each loss.",
                "many of `overflow`: see the queue above. Any of `internal`: report it.",
                runbook="KernelQueueOverflowsOften",
                operations="The kernel's queue overflows",
            ),
            "short",
            Query(f"sum by (reason) ({rises(GROUP, 'resyncs_total')})", "{{reason}}"),
            bars=True,
            aside=True,
            width=12,
        ),
        graph(
            "Time spent in resyncs",
            about(
                "The share of the time in which a comparison ran.",
                "near 100 %: the tree is too large for its resync_interval, or overflows follow each other.",
            ),
            "percentunit",
            Query(f"sum {_BY} ({rate(GROUP, 'resync_duration_seconds_sum')})", _GROUP),
            width=8,
        ),
        figure(
            "A resync takes",
            about(
                "The mean of those that ended in the time shown.",
                "nothing: it grows with the tree, and tells how long a repair takes.",
            ),
            "s",
            f"{took} / (sum({rise(GROUP, 'resync_duration_seconds_count')}) > 0) or {took}",
            base=PLAIN,
        ).height(8),
    ]


def _outbox() -> list[AnyPanel]:
    return [
        graph(
            "Events waiting for a sink",
            about(
                "Recorded events that some sink has not confirmed. A line that only rises is a sink that is "
                "away or too slow.",
                "find that sink in the graph at the bottom.",
                runbook="DeliveryLagging",
            ),
            "short",
            Query(of(GROUP, "outbox_events"), _GROUP),
        ),
        graph(
            "Outbox filled",
            about(
                "What waits, as a share of state.max_bytes. At 100 % the group stops reading.",
                "bring back the sink that is behind, or give the outbox more room.",
                runbook="OutboxFillingUp",
                operations="The journal is full",
            ),
            "percentunit",
            Query(f"{of(GROUP, 'outbox_bytes')} / ({of(GROUP, 'outbox_limit_bytes')} > 0)", _GROUP),
            steps=[(0.8, LOOK)],
            top=1,
        ),
        graph(
            "Age of the oldest event waiting",
            about(
                "How far the slowest sink is behind, in time.",
                "find that sink in the graph at the bottom.",
                runbook="DeliveryLagging",
            ),
            "s",
            Query(of(GROUP, "outbox_oldest_event_age_seconds"), _GROUP),
            steps=[(60, LOOK)],
        ),
        graph(
            "Commits that failed, by reason",
            about(
                "Batches that the state directory did not take. They are kept and tried again; nothing is "
                "lost.",
                "full: free space. io, fsync: check the disk. corrupt: nothing, a new database is made.",
                runbook="CommitFailing",
                operations="State directory",
            ),
            "short",
            Query(f"sum by (reason) ({rises(GROUP, 'commit_errors_total')})", "{{reason}}"),
            bars=True,
            width=12,
        ),
        graph(
            "Epochs begun, by reason",
            about(
                "Each is a new numbering, with a full snapshot to all sinks.",
                "new, changed, requested: nothing. Any other means that state was lost or put back: find "
                "out why.",
                runbook="EpochUnasked",
                operations="State directory",
            ),
            "short",
            Query(f"sum by (reason) ({rises(GROUP, 'epochs_total')})", "{{reason}}"),
            bars=True,
            width=12,
        ),
    ]


def _sinks() -> list[AnyPanel]:
    sink = "{{sink}} ({{instance}} {{watch_group}})"
    return [
        graph(
            "Events waiting, by sink",
            about(
                "Recorded events that this sink has not confirmed.",
                "open the board of the sink whose line stays up (the links are at the top).",
                runbook="DeliveryLagging",
            ),
            "short",
            Query(of(GROUP, "sink_lag_events"), sink),
            width=12,
        ),
        graph(
            "Sinks without a connection",
            about(
                "1 for each sink that is not connected, one upon the other.",
                "open the board of the sink (the links are at the top).",
                runbook="SinkDisconnected",
                operations="A sink is unavailable",
            ),
            "short",
            Query(f"1 - {of(GROUP, 'sink_connected')}", sink),
            stacked=True,
            width=12,
        ),
    ]
