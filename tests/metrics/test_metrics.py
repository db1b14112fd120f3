"""The catalogue of metrics, its series and its exposition."""

from __future__ import annotations

import errno
import math
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import choose_encoder
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics

from inotify_bridge import metrics as metrics_module
from inotify_bridge.capture.constants import EVENT_NAMES
from inotify_bridge.errors import SINK_ERROR_REASONS
from inotify_bridge.metrics import (
    CATALOGUE,
    EVENT_TYPES,
    RESYNC_REASONS,
    Metrics,
    register_process_metrics,
)
from inotify_bridge.sinks.base import Message

DOCUMENT = Path(__file__).parents[2] / "docs" / "metrics.md"
PAIRS = [("uploads", "orders"), ("uploads", "lake"), ("logs", "lake")]
P = "inotify_bridge_"


def metrics(registry: CollectorRegistry) -> Metrics:
    return Metrics(registry, ["uploads", "logs"], PAIRS)


def message(sequence: int, at: float) -> Message:
    return Message(sequence, at, "file.written", b"uploads", b"{}")


def exercise(made: Metrics, rounds: int) -> None:
    """Call everything that writes a metric, with whatever a run may bring."""
    group, relay = made.group("uploads"), made.relay("uploads", "orders")
    for number in range(rounds):
        group.count_kernel_events(dict.fromkeys(EVENT_NAMES.values(), number))
        group.count_events(dict.fromkeys(EVENT_TYPES, number))
        for reason in RESYNC_REASONS:
            group.resync_started(reason)
        group.watch_error(number)
        relay.error(f"a third party's word {number}")
        relay.acked([message(number, time.time())], 0.01)
        made.reloaded(number % 2 == 0, time.time())
    group.kernel_read(4096)
    group.resync_completed(2.0)
    group.outbox(3, 300, time.time())


@pytest.mark.skipif(
    not os.path.exists("/usr/bin/promtool"), reason="promtool (Debian: prometheus) is not installed"
)
def test_promtool_finds_nothing_to_say() -> None:
    """`promtool check metrics` accepts the full exposition, idle and after traffic, without a lint."""
    registry = CollectorRegistry()
    made = metrics(registry)
    register_process_metrics(registry)
    for rounds in (0, 3):
        exercise(made, rounds)
        checked = subprocess.run(
            ["/usr/bin/promtool", "check", "metrics"],
            input=generate_latest(registry),
            capture_output=True,
            timeout=60,
            check=False,
        )
        assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")


def test_the_exposition_is_valid_openmetrics_without_created_series() -> None:
    """The OpenMetrics exposition parses, and no family has a `_created` sample."""
    registry = CollectorRegistry()
    exercise(metrics(registry), 2)
    encode, _ = choose_encoder("application/openmetrics-text; version=1.0.0")
    families = list(parse_openmetrics(encode(registry).decode()))  # type: ignore[no-untyped-call]
    assert len(families) == len(CATALOGUE)
    assert not [s.name for f in families for s in f.samples if s.name.endswith("_created")]


def series(registry: CollectorRegistry) -> set[str]:
    lines = generate_latest(registry).decode().splitlines()
    return {line.rsplit(" ", 1)[0] for line in lines if not line.startswith("#")}


def test_traffic_adds_no_series() -> None:
    """The set of series is the same before any event and after every kind of event, error and resync."""
    registry = CollectorRegistry()
    made = metrics(registry)
    register_process_metrics(registry)
    before = series(registry)
    exercise(made, 50)
    assert series(registry) == before


def test_the_contract_names_are_there() -> None:
    """Every metric that the contract calls never missing is exposed, with its labels."""
    registry = CollectorRegistry()
    metrics(registry)
    exposed = series(registry)
    for name in (
        'kernel_queue_overflows_total{watch_group="uploads"}',
        'kernel_events_total{event="q_overflow",watch_group="uploads"}',
        'events_total{type="file.written",watch_group="uploads"}',
        'watches{watch_group="uploads"}',
        "watches_limit",
        'watches_uncovered{watch_group="uploads"}',
        'events_dropped_total{sink="orders",watch_group="uploads"}',
        'outbox_events{watch_group="uploads"}',
        'outbox_oldest_event_age_seconds{watch_group="uploads"}',
        'sink_acked_events_total{sink="orders",watch_group="uploads"}',
        'consistent{watch_group="uploads"}',
        'outbox_blocking_sink{sink="orders",watch_group="uploads"}',
        'sink_errors_total{reason="auth",sink="orders",watch_group="uploads"}',
        'sink_connected{sink="orders",watch_group="uploads"}',
        'event_latency_seconds_count{sink="orders",watch_group="uploads"}',
        'notifier_up{watch_group="uploads"}',
        'resyncs_total{reason="overflow",watch_group="uploads"}',
        'resync_duration_seconds_count{watch_group="uploads"}',
        'sink_insecure{sink="orders"}',
        'parked_events{sink="orders",watch_group="uploads"}',
    ):
        assert P + name in exposed


def test_labels_are_bounded() -> None:
    """Every label of the catalogue is a configured name or has all its values in the catalogue."""
    for metric in CATALOGUE:
        assert set(metric.scope) <= {"watch_group", "sink"}
        assert all(metric.labels.values())


def test_the_document_is_the_catalogue() -> None:
    """docs/metrics.md is what `python -m inotify_bridge.metrics` prints."""
    printed = subprocess.run(
        [sys.executable, "-m", "inotify_bridge.metrics"], capture_output=True, timeout=60, check=True
    )
    # The help of no metric depends on the machine or the version.
    assert printed.stdout.decode() == DOCUMENT.read_text()


def value(registry: CollectorRegistry, name: str, **labels: str) -> float:
    found = registry.get_sample_value(P + name, labels)
    assert found is not None, name
    return found


def test_a_reload_keeps_what_stays_and_drops_what_went() -> None:
    """After `configure` the series of a removed group and sink are gone, new ones are 0, others stay."""
    registry = CollectorRegistry()
    made = metrics(registry)
    kept, relay = made.group("uploads"), made.relay("uploads", "lake")
    kept.kernel_read(100)
    relay.connects()
    made.insecure("lake", True)

    made.configure(["uploads", "new"], [("uploads", "lake"), ("new", "lake")])
    kept.kernel_read(100)
    relay.connects()

    assert value(registry, "kernel_read_bytes_total", watch_group="uploads") == 200
    assert value(registry, "sink_connects_total", watch_group="uploads", sink="lake") == 2
    assert value(registry, "kernel_read_bytes_total", watch_group="new") == 0
    assert value(registry, "sink_insecure", sink="lake") == 1
    assert not [name for name in series(registry) if re.search(r'"(logs|orders)"', name)]
    with pytest.raises(KeyError):
        made.group("logs")


def test_latencies_of_a_batch_fall_into_their_buckets(monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch of acknowledged messages is counted by age, cumulatively, with its count and its sum."""
    registry = CollectorRegistry()
    relay = metrics(registry).relay("uploads", "orders")
    now = 1.7e9
    monkeypatch.setattr(metrics_module, "time", SimpleNamespace(time=lambda: now))
    relay.acked([message(1, now - 400), message(2, now - 7), message(3, now - 7), message(4, now + 60)], 0.02)

    def bucket(bound: str) -> float:
        return value(registry, "event_latency_seconds_bucket", watch_group="uploads", sink="orders", le=bound)

    assert [bucket(b) for b in ("0.001", "5.0", "10.0", "300.0", "+Inf")] == [1, 1, 3, 3, 4]
    assert value(registry, "event_latency_seconds_count", watch_group="uploads", sink="orders") == 4
    total = value(registry, "event_latency_seconds_sum", watch_group="uploads", sink="orders")
    assert total == 414, "a message from the future counts as 0, not below"
    assert value(registry, "sink_ack_duration_seconds_count", watch_group="uploads", sink="orders") == 1
    assert value(registry, "sink_acked_events_total", watch_group="uploads", sink="orders") == 4


def test_overflows_are_counted_from_the_records() -> None:
    """An IN_Q_OVERFLOW record counts both as a kernel event and as an overflow."""
    registry = CollectorRegistry()
    metrics(registry).group("uploads").count_kernel_events({"create": 5, "q_overflow": 2})
    assert value(registry, "kernel_queue_overflows_total", watch_group="uploads") == 2
    assert value(registry, "kernel_events_total", watch_group="uploads", event="q_overflow") == 2
    assert value(registry, "kernel_events_total", watch_group="uploads", event="create") == 5


def test_a_reason_that_a_sink_made_up_counts_as_other() -> None:
    """`error` takes any word of a third party's sink without making a series of it."""
    registry = CollectorRegistry()
    relay = metrics(registry).relay("logs", "lake")
    for reason in (*SINK_ERROR_REASONS, "/srv/secret\nname", ""):
        relay.error(reason)
    assert value(registry, "sink_errors_total", watch_group="logs", sink="lake", reason="other") == 3
    assert value(registry, "sink_errors_total", watch_group="logs", sink="lake", reason="auth") == 1


@pytest.mark.parametrize(
    ("number", "reason"),
    [(errno.ENOSPC, "limit"), (errno.EACCES, "permission"), (errno.ENOMEM, "memory"), (errno.EIO, "other")],
)
def test_watch_errors_are_counted_by_reason(number: int, reason: str) -> None:
    """The errno of a failed watch becomes one of a few reasons."""
    registry = CollectorRegistry()
    metrics(registry).group("uploads").watch_error(number)
    assert value(registry, "watch_errors_total", watch_group="uploads", reason=reason) == 1


def test_a_source_that_fails_fails_no_scrape() -> None:
    """A value whose source raises OSError is NaN, and the rest of the scrape is whole."""
    registry = CollectorRegistry()
    made = metrics(registry)
    made.group("uploads").follow(
        kernel_queue_bytes=lambda: len(os.read(-1, 1)),
        capture_queue_bytes=lambda: 4096,
        notifier_cpu_seconds=lambda: 1.5,
        recorder_cpu_seconds=lambda: 2.5,
        notifier_last_loop_timestamp_seconds=lambda: 1000.0,
        recorder_last_loop_timestamp_seconds=lambda: 1001.0,
        roots_lost=lambda: 0,
    )
    assert math.isnan(value(registry, "kernel_queue_bytes", watch_group="uploads"))
    assert value(registry, "capture_queue_bytes", watch_group="uploads") == 4096
    assert value(registry, "notifier_cpu_seconds_total", watch_group="uploads") == 1.5


def test_the_age_of_the_oldest_event_grows_between_updates() -> None:
    """The age is taken at the scrape, and is 0 when the journal is empty."""
    registry = CollectorRegistry()
    group = metrics(registry).group("uploads")
    group.outbox(2, 800, time.time() - 90)
    assert value(registry, "outbox_oldest_event_age_seconds", watch_group="uploads") >= 90
    assert value(registry, "outbox_bytes", watch_group="uploads") == 800
    group.outbox(0, 0, None)
    assert value(registry, "outbox_oldest_event_age_seconds", watch_group="uploads") == 0


def test_a_refused_reload_keeps_the_time_of_the_last_good_one() -> None:
    """After a failed reload `config_last_reload_successful` is 0 and the timestamp is the earlier one."""
    registry = CollectorRegistry()
    made = metrics(registry)
    made.reloaded(True, 1000.0)
    made.reloaded(False, 2000.0)
    assert value(registry, "config_last_reload_successful") == 0
    assert value(registry, "config_last_reload_success_timestamp_seconds") == 1000
    assert value(registry, "config_reloads_total", result="failure") == 1
    assert value(registry, "config_reloads_total", result="success") == 1


def test_parked_messages_are_counted_and_held() -> None:
    """`parked` raises the counter, `parked_now` sets the gauge; what an operator drops is counted apart."""
    registry = CollectorRegistry()
    relay = metrics(registry).relay("uploads", "orders")
    relay.parked(3)
    relay.dropped(2)
    relay.parked_now(1)
    labels = {"watch_group": "uploads", "sink": "orders"}
    assert value(registry, "sink_parked_events_total", **labels) == 3
    assert value(registry, "parked_events", **labels) == 1
    assert value(registry, "events_dropped_total", **labels) == 2


def test_rejected_rows_are_counted() -> None:
    """What a sink stores apart from the rest has a counter of its own."""
    registry = CollectorRegistry()
    metrics(registry).relay("uploads", "orders").set_aside(2)
    labels = {"watch_group": "uploads", "sink": "orders"}
    assert value(registry, "sink_rejected_rows_total", **labels) == 2
    assert value(registry, "sink_parked_events_total", **labels) == 0


def test_one_registry_takes_one_agent() -> None:
    """A second agent on the same registry is refused at once, not at a scrape."""
    registry = CollectorRegistry()
    metrics(registry)
    with pytest.raises(ValueError, match="Duplicated"):
        metrics(registry)
