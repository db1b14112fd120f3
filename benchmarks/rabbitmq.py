"""
The RabbitMQ sink beside a bare pika confirm loop: the same broker, queue type, window, messages, in one run.

    python -m benchmarks.rabbitmq [--url amqp://…] [--messages 40000] [--rounds 5] [--queue-type quorum]

Without a URL a RabbitMQ of its own is started. Rounds alternate, the queue is empty before each; the table
shows medians. CPU is that of this process, all threads. The paced row sends fifteen messages every 5 ms, as a
watch group with 1,000 files a second does.
"""

from __future__ import annotations

import contextlib
import functools
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import click
import pika

from inotify_bridge.sinks.base import ACCEPTED, Message, SinkContext
from inotify_bridge.sinks.rabbitmq import RabbitmqSink
from inotify_bridge.sinks.rabbitmq_options import RabbitmqOptions
from tests.brokers import RabbitmqBroker
from tests.sinks.messages import messages

NAME = "inotify-bridge-benchmark"
WINDOW = 2000
BATCH = 2000
BODY_BYTES = 450
PACE_MESSAGES = 15
PACE_SECONDS = 0.005
PACED_BATCHES = 600


class Figures(NamedTuple):
    """Of one round: messages a second, CPU microseconds a message."""

    rate: float
    cpu: float


class BarePika:
    """The loop that a user of pika would write for confirms: SelectConnection, basic_publish, a window."""

    def __init__(self, url: str, batch: Sequence[Message]) -> None:
        self._batch = batch
        self._sent = self._confirmed = 0
        self._connection = pika.SelectConnection(
            pika.URLParameters(url),
            on_open_callback=lambda connection: connection.channel(on_open_callback=self._on_channel),
            on_close_callback=lambda connection, _error: connection.ioloop.stop(),
        )

    def run(self) -> Figures:
        """Publish everything; only the time between the first message and the last confirm counts."""
        self._connection.ioloop.start()
        self._connection.ioloop.close()
        return self._figures

    def _on_channel(self, channel: Any) -> None:
        self._channel = channel
        channel.confirm_delivery(self._on_confirm, callback=lambda _frame: self._begin())

    def _begin(self) -> None:
        self._stopwatch = Stopwatch()
        self._fill()

    def _fill(self) -> None:
        room = WINDOW - (self._sent - self._confirmed)
        for message in self._batch[self._sent : self._sent + room]:
            properties = pika.BasicProperties(
                content_type="application/cloudevents+json; charset=UTF-8",
                delivery_mode=2,
                message_id=f"0192f3a4b5c6d7e8f9a0-{message.sequence:012d}",
                timestamp=int(message.time),
                type=f"io.inotify-bridge.{message.kind}.v1",
                app_id="inotify-bridge",
            )
            key = f"uploads.{message.kind}"
            self._channel.basic_publish(NAME, key, message.body, properties, mandatory=True)
            self._sent += 1

    def _on_confirm(self, frame: Any) -> None:
        tag = frame.method.delivery_tag
        self._confirmed = tag if frame.method.multiple else self._confirmed + 1
        if self._confirmed >= len(self._batch):
            self._figures = self._stopwatch.figures(len(self._batch))
            self._connection.close()
        else:
            self._fill()


class Stopwatch:
    """Wall clock and CPU since it was made."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def figures(self, count: int) -> Figures:
        """Since it was made, for so many messages."""
        wall, cpu = time.perf_counter() - self._wall, time.process_time() - self._cpu
        return Figures(count / wall, cpu / count * 1e6)


@contextlib.contextmanager
def connected(url: str, queue_type: str) -> Iterator[RabbitmqSink]:
    """The sink, connected to the exchange and the queue of the benchmark."""
    options = RabbitmqOptions.model_validate(
        {"url": url, "exchange": NAME, "queue": NAME, "queue_type": queue_type, "window": WINDOW}
    )
    context = SinkContext("orders", "uploads", "inotify://web-1/uploads", "structured", "group", NAME)
    with contextlib.closing(RabbitmqSink(options, context)) as sink:
        sink.connect()
        yield sink


def publish(sink: RabbitmqSink, batch: Sequence[Message]) -> list[float]:
    """Publish in batches as a relay does; the seconds that each took."""
    seconds = []
    for start in range(0, len(batch), BATCH):
        begun = time.perf_counter()
        outcomes = sink.publish(batch[start : start + BATCH])
        seconds.append(time.perf_counter() - begun)
        if any(one != ACCEPTED for one in outcomes):
            sys.exit(f"not accepted: {next(one for one in outcomes if one != ACCEPTED)}")
    return seconds


def our_sink(url: str, queue_type: str, batch: Sequence[Message]) -> Figures:
    """One round of the sink."""
    with connected(url, queue_type) as sink:
        stopwatch = Stopwatch()
        publish(sink, batch)
        return stopwatch.figures(len(batch))


def paced(url: str, queue_type: str, batch: Sequence[Message]) -> tuple[Figures, list[float]]:
    """A steady stream of small batches: figures, and the seconds from hand-over to confirm."""
    seconds: list[float] = []
    with connected(url, queue_type) as sink:
        stopwatch, start = Stopwatch(), time.perf_counter()
        for number in range(PACED_BATCHES):
            time.sleep(max(0.0, start + number * PACE_SECONDS - time.perf_counter()))
            begin = number * PACE_MESSAGES % (len(batch) - PACE_MESSAGES)
            seconds += publish(sink, batch[begin : begin + PACE_MESSAGES])
        return stopwatch.figures(PACED_BATCHES * PACE_MESSAGES), seconds


def empty(url: str) -> None:
    """Empty the queue of the benchmark."""
    connection = pika.BlockingConnection(pika.URLParameters(url))
    connection.channel().queue_purge(NAME)
    connection.close()


def alternate(
    url: str, rounds: int, contenders: dict[str, Callable[[], Figures]]
) -> dict[str, list[Figures]]:
    """All contenders in turn, so many times, each on an empty queue."""
    results: dict[str, list[Figures]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, run in contenders.items():
            empty(url)
            results[name].append(run())
    return results


def report(results: dict[str, list[Figures]]) -> None:
    """The table, and how the sink compares with the bare loop: the median of the rounds' ratios."""
    for name, figures in results.items():
        rate = statistics.median(one.rate for one in figures)
        cpu = statistics.median(one.cpu for one in figures)
        click.echo(f"{name:<22} {rate:>9,.0f} messages/s {cpu:>7.1f} µs CPU/message")
    pairs = zip(results["sink"], results["bare pika"], strict=True)
    ratio = statistics.median(ours.rate / bare.rate for ours, bare in pairs)
    click.echo(f"sink to bare pika: {ratio:.0%} of its rate")


def report_paced(figures: Figures, seconds: list[float]) -> None:
    """CPU share and the time to the confirm."""
    percentiles = statistics.quantiles(seconds, n=100)
    click.echo(
        f"{'sink, paced':<22} {figures.rate:>9,.0f} messages/s {figures.cpu:>7.1f} µs CPU/message"
        f" = {figures.rate * figures.cpu / 1e4:.1f} % of a core,"
        f" confirm p50 {percentiles[49] * 1e3:.1f} ms, p99 {percentiles[98] * 1e3:.1f} ms"
    )


@click.command()
@click.option("--url", help="A RabbitMQ that is already there.")
@click.option("--messages", "count", default=40_000, show_default=True)
@click.option("--rounds", default=5, show_default=True)
@click.option("--queue-type", type=click.Choice(["quorum", "classic"]), default="quorum", show_default=True)
def main(url: str | None, count: int, rounds: int, queue_type: str) -> None:
    """Compare the RabbitMQ sink with a bare pika confirm loop."""
    with contextlib.ExitStack() as stack:
        url = url or stack.enter_context(RabbitmqBroker()).url
        batch = messages(count, body_bytes=BODY_BYTES)
        our_sink(url, queue_type, batch[:BATCH])  # makes exchange and queue, and warms the broker
        results = alternate(
            url,
            rounds,
            {
                "bare pika": lambda: BarePika(url, batch).run(),
                "sink": functools.partial(our_sink, url, queue_type, batch),
            },
        )
        report(results)
        empty(url)
        report_paced(*paced(url, queue_type, batch))


if __name__ == "__main__":
    main()
