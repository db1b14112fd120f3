"""
The Kafka sink beside the bare client libraries: the same broker, topic settings and messages, in one run.

    python -m benchmarks.kafka [--bootstrap 127.0.0.1:9092] [--messages 60000] [--rounds 5]

Without an address an Apache Kafka of its own is started. Rounds alternate over a topic that is there before;
the table shows medians. CPU is that of this process, all threads. The paced rows send small batches at 3,000
messages a second, as a watch group with 1,000 files a second does, with the time from hand-over to
confirmation.
"""

from __future__ import annotations

import contextlib
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import click
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]
from kafka import KafkaProducer

from inotify_bridge.sinks.base import ACCEPTED, Message, SinkContext
from inotify_bridge.sinks.kafka import KafkaSink
from tests.brokers import KafkaBroker
from tests.sinks.messages import messages

TOPIC = "inotify-bridge-benchmark"
CLIENTS = ("kafka-python", "confluent")
HEADERS: list[tuple[str, Any]] = [("content-type", b"application/cloudevents+json; charset=UTF-8")]
BATCH = 2000
BODY_BYTES = 450
PACE = {3: 0.001, 15: 0.005, 60: 0.020}  # messages a batch, seconds between batches
PACED_SECONDS = 3.0


class Figures(NamedTuple):
    """Of one round: messages a second, CPU microseconds a message."""

    rate: float
    cpu: float


class Stopwatch:
    """Wall clock and CPU since it was made."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def figures(self, count: int) -> Figures:
        """Since it was made, for so many messages."""
        wall, cpu = time.perf_counter() - self._wall, time.process_time() - self._cpu
        return Figures(count / wall, cpu / count * 1e6)


def bare_kafka_python(address: str, everything: Sequence[Message]) -> Figures:
    """What a careful user of kafka-python writes: idempotent, batches, every future looked at."""
    producer = KafkaProducer(
        bootstrap_servers=[address],
        acks="all",
        enable_idempotence=True,
        linger_ms=0,
        batch_size=256 * 1024,
    )
    producer.send(TOPIC, b"warm", partition=0).get(30)
    stopwatch = Stopwatch()
    for batch in batches(everything):
        futures = [
            producer.send(
                TOPIC,
                value=one.body,
                key=one.key,
                headers=HEADERS,
                partition=0,
                timestamp_ms=int(one.time * 1000),
            )
            for one in batch
        ]
        producer.flush(60)
        if not all(future.succeeded() for future in futures):
            sys.exit("kafka-python: not accepted")
    figures = stopwatch.figures(len(everything))
    producer.close()
    return figures


def bare_confluent(address: str, everything: Sequence[Message]) -> Figures:
    """What a careful user of confluent-kafka writes: idempotent, one callback that counts, flush."""
    producer = Producer(
        {
            "bootstrap.servers": address,
            "enable.idempotence": True,
            "linger.ms": 0,
            "batch.size": 1_000_000,
            "log_level": 0,
        }
    )
    accepted = 0

    def count(error: object, message: object) -> None:
        nonlocal accepted
        accepted += error is None

    producer.produce(TOPIC, b"warm", partition=0)
    producer.flush(30)
    stopwatch = Stopwatch()
    for batch in batches(everything):
        for one in batch:
            producer.produce(
                TOPIC, one.body, one.key, 0, count, timestamp=int(one.time * 1000), headers=HEADERS
            )
        producer.flush(60)
    if accepted != len(everything):
        sys.exit("confluent: not accepted")
    return stopwatch.figures(len(everything))


def batches(everything: Sequence[Message]) -> Iterator[Sequence[Message]]:
    """As a relay claims them."""
    for start in range(0, len(everything), BATCH):
        yield everything[start : start + BATCH]


@contextlib.contextmanager
def connected(address: str, client: str, warm: Sequence[Message]) -> Iterator[KafkaSink]:
    """The sink, connected and used once, as the bare clients are before their time counts."""
    options = KafkaSink.Options.model_validate(
        {"bootstrap_servers": [address], "topic": TOPIC, "client": client}
    )
    context = SinkContext("lake", "uploads", "inotify://web-1/uploads", "structured", "group", TOPIC)
    with contextlib.closing(KafkaSink(options, context)) as sink:
        sink.connect()
        publish(sink, warm)
        yield sink


def publish(sink: KafkaSink, batch: Sequence[Message]) -> None:
    """Publish what must be accepted."""
    refused = [one for one in sink.publish(batch) if one is not ACCEPTED]
    if refused:
        sys.exit(f"not accepted: {refused[0]}")


def our_sink(address: str, client: str, everything: Sequence[Message]) -> Figures:
    """One round of the sink."""
    with connected(address, client, everything[:1]) as sink:
        stopwatch = Stopwatch()
        for batch in batches(everything):
            publish(sink, batch)
        return stopwatch.figures(len(everything))


def paced(address: str, client: str, size: int, everything: Sequence[Message]) -> tuple[Figures, list[float]]:
    """A steady stream of small batches: figures, and the seconds from hand-over to confirmation."""
    seconds: list[float] = []
    count = int(PACED_SECONDS / PACE[size])
    with connected(address, client, everything[:1]) as sink:
        stopwatch, start = Stopwatch(), time.perf_counter()
        for number in range(count):
            time.sleep(max(0.0, start + number * PACE[size] - time.perf_counter()))
            begin = number * size % (len(everything) - size)
            begun = time.perf_counter()
            publish(sink, everything[begin : begin + size])
            seconds.append(time.perf_counter() - begun)
        return stopwatch.figures(count * size), seconds


def median(rounds: Sequence[Figures]) -> Figures:
    """Of each column."""
    return Figures(
        statistics.median(one.rate for one in rounds), statistics.median(one.cpu for one in rounds)
    )


def compare(address: str, everything: Sequence[Message], rounds: int) -> None:
    """Alternate bare client and sink, and print the table."""
    bare: dict[str, Callable[[str, Sequence[Message]], Figures]] = {
        "kafka-python": bare_kafka_python,
        "confluent": bare_confluent,
    }
    found: dict[str, list[Figures]] = {}
    for _ in range(rounds):
        for client in CLIENTS:
            found.setdefault(f"bare {client}", []).append(bare[client](address, everything))
            found.setdefault(f"sink {client}", []).append(our_sink(address, client, everything))
    click.echo(
        f"{'batches of ' + str(BATCH):<22}{'messages/s':>12}{'CPU µs each':>13}{'of the bare rate':>18}"
    )
    for client in CLIENTS:
        base = median(found[f"bare {client}"])
        for name in (f"bare {client}", f"sink {client}"):
            rate, cpu = median(found[name])
            click.echo(f"{name:<22}{rate:>12,.0f}{cpu:>13.1f}{rate / base.rate:>17.2f}×")


def show_paced(address: str, everything: Sequence[Message]) -> None:
    """Small batches at 3,000 messages a second."""
    click.echo(f"\n{'3,000 messages/s':<22}{'batch':>6}{'CPU % of a core':>17}{'p50 ms':>9}{'p99 ms':>9}")
    for client in CLIENTS:
        for size in PACE:
            (rate, cpu), seconds = paced(address, client, size, everything)
            quantiles = statistics.quantiles(seconds, n=100)
            click.echo(
                f"sink {client:<17}{size:>6}{cpu * rate / 1e4:>17.1f}"
                f"{quantiles[49] * 1000:>9.2f}{quantiles[98] * 1000:>9.2f}"
            )


@click.command()
@click.option("--bootstrap", help="host:port of a broker; default: one of its own")
@click.option("--messages", "count", default=60_000, show_default=True)
@click.option("--rounds", default=5, show_default=True)
def main(bootstrap: str | None, count: int, rounds: int) -> None:
    """Compare the Kafka sink with the bare clients."""
    everything = messages(count, body_bytes=BODY_BYTES)
    with contextlib.ExitStack() as stack:
        address = bootstrap or stack.enter_context(KafkaBroker()).address
        admin = AdminClient({"bootstrap.servers": address})
        with contextlib.suppress(Exception):  # it is there already
            admin.create_topics([NewTopic(TOPIC, 1, 1)])[TOPIC].result(30)
        compare(address, everything, rounds)
        show_paced(address, everything)


if __name__ == "__main__":
    main()
