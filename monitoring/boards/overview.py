"""The board of all agents: is everything all right, and if not, where."""

from __future__ import annotations

from typing import Final

from grafana_foundation_sdk.builders import dashboard

from monitoring.boards import groups_table
from monitoring.boards.frame import INSTANCE, JOB, AnyPanel, Section, frame
from monitoring.boards.panels import BAD, LOOK, PLAIN, Query, about, figure, graph
from monitoring.boards.series import AGENT, apart, of, process, quantile, rate, rise, seen

UID: Final = "inotify-bridge-overview"

_GROUP: Final = "{{instance}} {{watch_group}}"


def board() -> dashboard.Dashboard:
    """The board, to be built."""
    return frame(
        UID,
        "inotify-bridge: overview",
        "All agents at a glance. Green everywhere: go back to sleep. The table leads to the board of a "
        "group.",
        [JOB, INSTANCE],
        [
            Section("Is everything all right?", _verdicts()),
            Section("Which group is it?", [groups_table.panel()]),
            Section("Events", _events()),
            Section("Room left", _room()),
            Section("The process", _process()),
        ],
    )


def _verdicts() -> list[AnyPanel]:
    silent = f"(1 - up{{{AGENT}}}) and on (job, instance) last_over_time({of(AGENT, 'build_info')}[1d])"
    return [
        figure(
            "Agents that answer",
            about(
                "Agents whose metrics Prometheus could read at the last scrape.",
                "compare with how many there should be; one that is missing is no target of Prometheus.",
                runbook="AgentAbsent",
            ),
            "short",
            f"count(count by (job, instance) ({of(AGENT, 'build_info')}))",
            base=PLAIN,
        ),
        figure(
            "Agents that fell silent",
            about(
                "Targets that were agents within a day and do not answer now: nothing is known about them.",
                "see whether the process runs, and what its last lines in the log say.",
                runbook="AgentDown",
            ),
            "short",
            f"sum({silent})",
            [(1, BAD)],
        ),
        figure(
            "Groups out of step",
            about(
                "Watch groups whose stream does not agree with the disk: before the first snapshot, after "
                "an overflow until its resync has ended, or while a root is lost.",
                "wait a moment: a resync repairs it. If it stays, look for a lost root in the group's "
                "status.",
                runbook="NotConsistent",
                operations="A root is lost",
            ),
            "short",
            f"sum(1 - {of(AGENT, 'consistent')})",
            [(1, LOOK)],
        ),
        figure(
            "Sinks not connected",
            about(
                "Pairs of a watch group and a sink without a connection. Their events wait in the outbox.",
                "open the board of the sink: its errors say what the broker said.",
                runbook="SinkDisconnected",
                operations="A sink is unavailable",
            ),
            "short",
            f"sum(1 - {of(AGENT, 'sink_connected')})",
            [(1, BAD)],
        ),
        figure(
            "Oldest event waiting",
            about(
                "How long the oldest event waits for the confirmation of a sink. Over a minute is slow.",
                "find the sink that is behind, on the board of the group.",
                runbook="DeliveryLagging",
            ),
            "s",
            f"max({of(AGENT, 'outbox_oldest_event_age_seconds')})",
            [(60, LOOK), (300, BAD)],
            sparkline=True,
        ),
        figure(
            "Fullest outbox",
            about(
                "The share of state.max_bytes that waits in the fullest outbox. At 100 % the group stops "
                "reading, and the kernel's queue overflows.",
                "bring back the sink that is behind, or give the outbox more room.",
                runbook="OutboxFillingUp",
                operations="The journal is full",
            ),
            "percentunit",
            f"max({of(AGENT, 'outbox_bytes')} / ({of(AGENT, 'outbox_limit_bytes')} > 0))",
            [(0.8, LOOK), (0.95, BAD)],
            sparkline=True,
        ),
        figure(
            "Threads that stand still",
            about(
                "Notifiers and recorders that have not turned for a minute while the other of their group "
                "did: the group sees or records nothing.",
                "restart the agent, and report it with its log.",
                runbook="NotifierStalled",
                operations="Probes",
            ),
            "short",
            f"sum(abs({apart(AGENT)}) > bool 60)",
            [(1, BAD)],
        ),
        figure(
            "Groups that cannot write",
            about(
                "Groups whose state directory takes nothing. Nothing is lost, and nothing new is published.",
                "free space on its disk, or mend it; the group goes on by itself.",
                runbook="CommitFailing",
                operations="Messages of the log",
            ),
            "short",
            f"sum({of(AGENT, 'commit_failing')})",
            [(1, BAD)],
        ),
        figure(
            "Directories only polled",
            about(
                "Directories without a watch, listed every poll_interval instead: what comes and goes "
                "between two polls is missed.",
                "mostly raise fs.inotify.max_user_watches; the board of the group has the reasons.",
                runbook="DirectoriesPolled",
                operations="Coverage is degraded",
            ),
            "short",
            f"sum({of(AGENT, 'watches_uncovered')})",
            [(1, LOOK)],
        ),
        figure(
            "Kernel queue overflows",
            about(
                "How often the kernel lost events in the time shown. A resync repairs the state each time; "
                "what happened in between is not in the stream.",
                "seldom: nothing. Often: make fs.inotify.max_queued_events larger, or the outbox was full.",
                runbook="KernelQueueOverflow",
                operations="The kernel's queue overflows",
            ),
            "short",
            f"ceil(sum({rise(AGENT, 'kernel_queue_overflows_total')}))",
            [(1, LOOK)],
        ),
        figure(
            "Messages set aside",
            about(
                "Messages that a broker would never take. They are kept, and wait for you.",
                "`inotify-bridge parked list` says why; then `parked retry` or `parked drop`.",
                runbook="MessagesParked",
                operations="A message is parked",
            ),
            "short",
            f"sum({of(AGENT, 'parked_events')})",
            [(1, LOOK)],
        ),
        figure(
            "Configurations refused",
            about(
                "Agents that run on an old configuration, because the new one was refused.",
                "the log has a line for each reason; `inotify-bridge validate FILE` tells them too.",
                runbook="ConfigReloadFailed",
                operations="Reload",
            ),
            "short",
            f"sum(1 - {of(AGENT, 'config_last_reload_successful')})",
            [(1, LOOK)],
        ),
    ]


def _events() -> list[AnyPanel]:
    by_type = f"sum by (type) ({rate(AGENT, 'events_total')})"
    return [
        graph(
            "Events recorded, by type",
            about(
                "Events a second that all agents recorded, of the types that occurred since they started.",
                "nothing: this is the traffic. A sudden silence of a busy tree is worth a look at its root.",
            ),
            "eps",
            Query(seen(by_type, "type", AGENT, "events_total"), "{{type}}"),
            stacked=True,
            aside=True,
            width=12,
        ),
        graph(
            "Events waiting for a sink",
            about(
                "Events that some sink has not confirmed, by group. A line that only rises is a sink that "
                "is away or too slow.",
                "open the board of the group, then that of the sink.",
                runbook="DeliveryLagging",
            ),
            "short",
            Query(f"sum by (instance, watch_group) ({of(AGENT, 'outbox_events')})", _GROUP),
            width=12,
        ),
        graph(
            "Time from the disk to the broker",
            about(
                "How long events take from the notifier's read to the confirmation, over all groups and "
                "sinks. Rough between one minute and five. No line: nothing was confirmed.",
                "if it rises for all sinks the machine is busy or its disk is slow; if for one, it is that "
                "broker.",
                runbook="DeliveryLagging",
            ),
            "s",
            Query(quantile(0.5, AGENT, "event_latency_seconds"), "half of them below"),
            Query(quantile(0.99, AGENT, "event_latency_seconds"), "99 % below"),
            steps=[(60, LOOK)],
            width=12,
        ),
        graph(
            "Events recorded, by agent",
            about("Events a second of each agent.", "nothing: this shows who is busy."),
            "eps",
            Query(f"sum by (instance) ({rate(AGENT, 'events_total')})", "{{instance}}"),
            width=12,
        ),
    ]


def _room() -> list[AnyPanel]:
    held = f"sum by (job, instance) ({of(AGENT, 'watches')})"
    return [
        graph(
            "Watches held, of those allowed",
            about(
                "The agent's share of the watches that its user may hold; other programs of that user take "
                "from the rest. Directories beyond the limit are only polled.",
                "raise fs.inotify.max_user_watches before it is reached.",
                runbook="WatchLimitNear",
                operations="Coverage is degraded",
            ),
            "percentunit",
            Query(f"{held} / on (job, instance) {of(AGENT, 'watches_limit')}", "{{instance}}"),
            steps=[(0.9, BAD)],
        ),
        graph(
            "Outbox filled",
            about(
                "What waits, as a share of state.max_bytes. At 100 % the group stops reading until a tenth "
                "is free.",
                "bring back the sink that is behind, or give the outbox more room.",
                runbook="OutboxFillingUp",
                operations="The journal is full",
            ),
            "percentunit",
            Query(f"{of(AGENT, 'outbox_bytes')} / ({of(AGENT, 'outbox_limit_bytes')} > 0)", _GROUP),
            steps=[(0.8, LOOK)],
            top=1,
        ),
        graph(
            "Directories only polled",
            about(
                "Directories that inotify does not cover, by group.",
                "see the errors on the board of the group.",
                runbook="DirectoriesPolled",
                operations="Coverage is degraded",
            ),
            "short",
            Query(of(AGENT, "watches_uncovered"), _GROUP),
        ),
    ]


def _process() -> list[AnyPanel]:
    return [
        graph(
            "CPU",
            about(
                "Cores that the agent uses: 100 % is one of them.",
                "at 100 % for long it cannot keep up: exclude what nobody needs, or split the tree over "
                "agents.",
            ),
            "percentunit",
            Query(process(f"rate(process_cpu_seconds_total{{{AGENT}}}[$__rate_interval])"), "{{instance}}"),
        ),
        graph(
            "Memory",
            about(
                "Resident memory. It grows with the number of entries of the trees, not with the traffic.",
                "a line that rises for days on a tree that does not grow: report it.",
            ),
            "bytes",
            Query(process(f"process_resident_memory_bytes{{{AGENT}}}"), "{{instance}}"),
        ),
        graph(
            "Open files, of those allowed",
            about(
                "File descriptors in use, as a share of the process's limit.",
                "raise its limit of open files (LimitNOFILE).",
            ),
            "percentunit",
            Query(
                process(f"process_open_fds{{{AGENT}}} / process_max_fds{{{AGENT}}}"),
                "{{instance}}",
            ),
            steps=[(0.8, LOOK)],
        ),
    ]
