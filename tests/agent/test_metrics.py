"""``/metrics`` of an agent at work."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.agent.conftest import Launch
from tests.agent.places import RabbitmqPlace
from tests.agent.process import DRAINING, AgentProcess
from tests.agent.trees import Trees
from tests.waiting import eventually

pytestmark = pytest.mark.timeout(400)

FILES = 5_000
P = "inotify_bridge_"

NEVER_MISSING = [
    "kernel_queue_overflows_total",
    "kernel_events_total",
    "events_total",
    "watches",
    "watches_limit",
    "watches_uncovered",
    "events_dropped_total",
    "outbox_events",
    "outbox_oldest_event_age_seconds",
    "sink_acked_events_total",
    "consistent",
    "outbox_blocking_sink",
    "sink_errors_total",
    "sink_connected",
    "event_latency_seconds_count",
    "notifier_up",
    "resyncs_total",
    "resync_duration_seconds_count",
]

AT_WORK = [
    "kernel_events_total",
    "kernel_reads_total",
    "kernel_read_bytes_total",
    "events_total",
    "watches",
    "watches_limit",
    "capture_queue_limit_bytes",
    "kernel_queue_limit_events",
    "notifier_up",
    "notifier_last_loop_timestamp_seconds",
    "notifier_cpu_seconds_total",
    "recorder_up",
    "recorder_last_loop_timestamp_seconds",
    "recorder_cpu_seconds_total",
    "consistent",
    "resyncs_total",
    "resync_duration_seconds_count",
    "outbox_limit_bytes",
    "sink_connected",
    "sink_connects_total",
    "sink_sent_events_total",
    "sink_sent_bytes_total",
    "sink_acked_events_total",
    "sink_last_ack_timestamp_seconds",
    "sink_ack_duration_seconds_count",
    "event_latency_seconds_count",
    "config_last_reload_successful",
]
"""What is above zero when files were written and delivered."""

Samples = Mapping[tuple[str, tuple[tuple[str, str], ...]], float]


def scraped(agent: AgentProcess) -> Samples:
    """Every series with its value."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(agent.get("/metrics")[1])
        for sample in family.samples
    }


def total(samples: Samples, name: str) -> float:
    """The sum of a metric's samples."""
    return sum(value for (found, _), value in samples.items() if found == P + name)


@pytest.mark.rabbitmq
def test_metrics_at_work(rabbitmq_place: RabbitmqPlace, trees: Trees, launch: Launch) -> None:
    """5,000 files add no series; nothing promised is missing, and what must count has counted."""
    agent = launch([rabbitmq_place.sink("orders")], **DRAINING).start()
    eventually(lambda: agent.sink("orders")["connected"], what="connected")
    # What the first snapshot still lists is told by it, and by the records of the kernel again.
    eventually(lambda: agent.get("/readyz")[0] == 200, what="the first snapshot")
    before = scraped(agent)
    trees.files("file", FILES)
    eventually(
        lambda: agent.group()["sequence"] > 2 * FILES and agent.delivered("orders"),
        within=90,
        what="all delivered",
    )

    def counted() -> Samples | None:
        """The figures of the kernel's records, and of the last confirms, follow within a moment."""
        now, acked = scraped(agent), agent.sink("orders")["acked_sequence"]
        read = total(now, "kernel_events_total") >= 2 * FILES
        return now if read and total(now, "sink_acked_events_total") == acked else None

    after = eventually(counted, what="all records and confirms are counted")
    assert after is not None
    assert after.keys() == before.keys()
    assert [name for name in NEVER_MISSING if not any(key[0] == P + name for key in after)] == []
    assert [name for name in AT_WORK if not total(after, name) > 0] == []
    assert total(after, "resyncs_total") == total(before, "resyncs_total")
    grown = {key: after[key] - before[key] for key in after if key[0] == P + "events_total"}
    assert sum(grown.values()) == 2 * FILES, {key: count for key, count in grown.items() if count}
    # OPEN is not watched, so a file that is made and closed gives two records.
    assert total(after, "kernel_events_total") - total(before, "kernel_events_total") == 2 * FILES
    _lint(agent)


@pytest.mark.rabbitmq
def test_metrics_of_a_backlog(rabbitmq_place: RabbitmqPlace, trees: Trees, launch: Launch) -> None:
    """While the broker answers nothing, outbox and lag show what waits for it, and its age."""
    agent = launch([rabbitmq_place.sink("orders")]).start()
    eventually(lambda: agent.sink("orders")["connected"] and agent.delivered("orders"), what="connected")
    eventually(lambda: agent.metric("outbox_events") == 0, what="what was delivered is noted")
    rabbitmq_place.broker.freeze()
    trees.files("file", 50)
    eventually(lambda: agent.metric("outbox_events") == 100, what="100 events in the outbox")
    assert agent.sink("orders")["lag_events"] == 100
    eventually(lambda: agent.metric("sink_lag_events", sink="orders") == 100, what="the lag")
    assert agent.metric("outbox_bytes") > 100
    eventually(lambda: agent.metric("outbox_oldest_event_age_seconds") > 0, what="its age")
    rabbitmq_place.broker.thaw()
    eventually(lambda: agent.metric("outbox_events") == 0, what="an empty outbox")
    eventually(lambda: agent.metric("sink_lag_events", sink="orders") == 0, what="no lag")
    eventually(lambda: agent.metric("outbox_oldest_event_age_seconds") == 0, what="nothing has an age")
    agent.stop()


def _lint(agent: AgentProcess) -> None:
    promtool = shutil.which("promtool")
    if promtool is None and not os.environ.get("CI"):
        pytest.skip("promtool (Debian: prometheus) is not installed")
    checked = subprocess.run(
        [promtool or "promtool", "check", "metrics"],
        input=agent.get("/metrics")[1],
        text=True,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")
