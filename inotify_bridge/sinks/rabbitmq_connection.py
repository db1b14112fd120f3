"""
One connection to RabbitMQ and the thread that does all its input and output.

pika's connection belongs to the I/O thread from its making to its end: heartbeats are answered while the
relay reads its journal. The relay's thread hands over a whole batch by one wake-up and waits on a future;
verdicts come back in bulk. Whatever ends the connection also ends that wait.
"""

from __future__ import annotations

import contextlib
import functools
import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, InvalidStateError
from typing import Any, Final

import pika
from pika import exceptions as pika_errors
from pika import spec
from pika.adapters.select_connection import IOLoop, SelectConnection

from inotify_bridge import __version__
from inotify_bridge.errors import SinkUnavailable
from inotify_bridge.sinks import rabbitmq_errors as errors
from inotify_bridge.sinks.base import Message, Outcome, SinkContext, Verdict
from inotify_bridge.sinks.rabbitmq_declarations import Step, Then, declarations
from inotify_bridge.sinks.rabbitmq_flight import Flight
from inotify_bridge.sinks.rabbitmq_frames import Encoder, Unsendable, too_large
from inotify_bridge.sinks.rabbitmq_options import RabbitmqOptions
from inotify_bridge.sinks.registry import silence_driver

CLOSE_SECONDS: Final = 2.0
"""How long a close waits for the broker's answer before it cuts the connection."""

_JOIN_SECONDS: Final = 3 * CLOSE_SECONDS
_CHUNK_BYTES: Final = 64 * 1024
_NACKED: Final = Outcome(
    Verdict.RETRY, "nacked", "the broker could not take it: queue full, or an error there"
)


class _Wire(SelectConnection):  # type: ignore[misc]  # pika publishes no types
    """The two things that pika 1.4 does only for its own adapters: a sub-class is where they may be used."""

    _is_cut = False

    def write(self, data: bytes) -> None:
        """Send encoded frames as they are: `Channel.basic_publish` makes three send(2) calls a message."""
        self._adapter_emit_data(data)

    def cut(self) -> None:
        """End now, without the broker's answer, for which `close` would wait for ever. Once is enough."""
        if not self.is_closed and not self._is_cut:
            self._is_cut = True
            self._terminate_stream(pika_errors.StreamLostError("given up"))


class Connection:
    """
    One connection with its thread, which starts at once. `ready` and `publish` belong to one thread, `close`
    to any.

    Args:
        options: see `RabbitmqOptions`; the password is read now.
        context: the pair it serves.
    Raises:
        SinkMisconfigured: a file of the options cannot be read.
    """

    def __init__(self, options: RabbitmqOptions, context: SinkContext) -> None:
        self._options = options
        self._context = context
        self._parameters = _parameters(options, context)
        self._ioloop = IOLoop()
        self._thread = threading.Thread(
            target=self._run, name=f"rabbitmq {context.group}/{context.name}", daemon=True
        )
        self._waiting: Future[list[Outcome]] = Future()
        self._ended: SinkUnavailable | None = None  # why nothing more can be done; set once
        self._lock = threading.Lock()
        # Below: the I/O thread's own.
        self._wire: _Wire | None = None
        self._channel: Any = None
        self._encoder: Encoder | None = None
        self._next_tag = 1
        self._max_message_bytes = 0
        self._is_queue_missing = False
        self._flight: Flight | None = None
        self._blocked = ""
        self._progress = 0.0
        self._thread.start()

    def ready(self) -> None:
        """
        Wait until it is connected, everything is declared and confirms are on.

        Raises:
            SinkUnavailable: it could not be, with the reason; `close` is still needed.
        """
        self._result_of_setup(self._waiting)

    def publish(self, batch: Sequence[Message]) -> list[Outcome]:
        """
        Send a batch and wait for all its confirms.

        Returns:
            One outcome a message; also when the connection was lost after the first of them were confirmed.
        Raises:
            SinkUnavailable: the connection is gone, or the broker has not answered in time.
        """
        if self._channel is None or self._is_queue_missing:
            # The broker has closed the channel over a message, or our queue was deleted: the connection lives
            # on, and everything is declared anew on another channel.
            waiting = self._wait_for_next()
            self._ioloop.add_callback_threadsafe(self._open_channel)
            self._result_of_setup(waiting)
        waiting = self._wait_for_next()
        self._progress = time.monotonic()
        self._ioloop.add_callback_threadsafe(functools.partial(self._depart, batch))
        while True:
            try:
                return waiting.result(self._patience())
            except TimeoutError:
                if self._patience() <= 0:
                    flight = self._flight
                    self._give_up(errors.no_confirm(self._options, flight.unconfirmed if flight else 0))

    def check(self) -> None:
        """Raises: SinkUnavailable, the I/O thread has seen the end of the connection."""
        if self._ended is not None:
            raise self._ended

    def close(self) -> None:
        """End connection and thread; a waiting `ready` or `publish` raises SinkUnavailable at once."""
        graceful = self._end(SinkUnavailable(f"{self._options.place}: closed"))
        self._ioloop.add_callback_threadsafe(self._leave if graceful else self._cut)
        self._thread.join(_JOIN_SECONDS)

    # The relay's thread ------------------------------------------------------------------------------------

    def _wait_for_next(self) -> Future[list[Outcome]]:
        with self._lock:
            if self._ended is not None:
                raise self._ended
            self._waiting = Future()
            return self._waiting

    def _result_of_setup(self, waiting: Future[list[Outcome]]) -> None:
        try:
            waiting.result(self._options.connect_timeout)
        except TimeoutError:
            self._give_up(errors.no_answer(self._options))
            waiting.result()

    def _patience(self) -> float:
        """Seconds for which the next confirm may still take; a blocked connection has pika's own timer."""
        if self._blocked:
            return self._options.blocked_connection_timeout
        return max(0.0, self._progress + self._options.confirm_timeout - time.monotonic())

    def _give_up(self, error: SinkUnavailable) -> None:
        self._end(error)
        self._ioloop.add_callback_threadsafe(self._cut)

    # Any thread --------------------------------------------------------------------------------------------

    def _end(self, error: SinkUnavailable) -> bool:
        """Nothing more can be done: whoever waits, now or later, gets this error. False: ended before."""
        with self._lock:
            first = self._ended is None
            self._ended = self._ended or error
            waiting = self._waiting
        with contextlib.suppress(InvalidStateError):
            waiting.set_exception(self._ended)
        return first

    # The I/O thread ----------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._wire = _Wire(
                self._parameters,
                on_open_callback=self._on_open,
                on_open_error_callback=self._on_open_error,
                on_close_callback=self._on_close,
                custom_ioloop=self._ioloop,
            )
            self._ioloop.start()
        except Exception as error:  # a bug here or in pika must end the wait, not hide in a dead thread
            failure = errors.connection_lost(error, self._options)
            failure.__cause__ = error
            self._end(failure)
            self._hang_up()
        finally:
            self._ioloop.close()

    def _hang_up(self) -> None:
        """After an error that left the loop: run it once more, to close the socket."""
        if self._wire is not None and not self._wire.is_closed:
            self._wire.cut()
            self._ioloop.start()

    def _on_open(self, wire: _Wire) -> None:
        wire.add_on_connection_blocked_callback(self._on_blocked)
        wire.add_on_connection_unblocked_callback(self._on_unblocked)
        self._open_channel()

    def _on_open_error(self, _wire: _Wire, error: BaseException) -> None:
        self._end(errors.connect_failed(error, self._options))
        self._ioloop.stop()

    def _on_close(self, _wire: _Wire, error: BaseException) -> None:
        lost = errors.connection_lost(error, self._options, self._blocked)
        flight, self._flight = self._flight, None
        if flight is not None and flight.begun:  # what is confirmed need not come again
            unknown = Outcome(Verdict.RETRY, lost.reason, lost.message)
            flight.abandon(lambda _message: unknown)
            self._answer(flight.outcomes())
        self._end(lost)
        self._ioloop.stop()

    def _on_blocked(self, _wire: _Wire, frame: Any) -> None:
        self._blocked = str(frame.method.reason) or "no reason given"

    def _on_unblocked(self, _wire: _Wire, _frame: Any) -> None:
        self._progress = time.monotonic()
        self._blocked = ""

    def _open_channel(self) -> None:
        channel, self._channel, self._is_queue_missing = self._channel, None, False
        if channel is not None and channel.is_open:
            channel.close()
        if self._wire is not None and self._wire.is_open:
            self._wire.channel(on_open_callback=self._on_channel)

    def _on_channel(self, channel: Any) -> None:
        channel.add_on_close_callback(self._on_channel_closed)
        channel.add_on_return_callback(self._on_returned)
        steps = [*declarations(self._options, self._context), self._switch_confirms_on]
        self._take_step(channel, iter(steps))

    def _take_step(self, channel: Any, steps: Iterator[Step], _frame: Any = None) -> None:
        """One declaration after the other, each at the answer to the one before."""
        step = next(steps, None)
        if step is not None:
            step(channel, functools.partial(self._take_step, channel, steps))
            return
        self._encoder = Encoder(
            self._context,
            self._options.exchange,
            self._options.routing_key,
            channel.channel_number,
            channel.connection.params.frame_max,
            self._max_message_bytes,
        )
        self._next_tag = 1
        self._channel = channel
        self._answer([])

    def _switch_confirms_on(self, channel: Any, then: Then) -> None:
        channel.confirm_delivery(self._on_confirm, callback=then)

    def _answer(self, outcomes: list[Outcome]) -> None:
        with contextlib.suppress(InvalidStateError):  # closed meanwhile
            self._waiting.set_result(outcomes)

    def _depart(self, batch: Sequence[Message]) -> None:
        if self._channel is None:
            return  # the channel closed just now; whoever waits is told by its callback
        self._flight = Flight(batch, self._options.window, self._next_tag)
        self._proceed()

    def _proceed(self) -> None:
        """Send what the window lets through; answer when all is said."""
        flight, encoder = self._flight, self._encoder
        if flight is None or encoder is None:
            return
        self._send(flight, encoder)
        if flight.finished:
            self._next_tag += flight.sent
            self._flight = None
            self._answer(flight.outcomes())

    def _send(self, flight: Flight, encoder: Encoder) -> None:
        chunk: list[bytes] = []
        size = 0
        for message in flight.due():
            try:
                encoded = encoder.encode(message)
            except Unsendable as verdict:
                flight.reject(verdict.outcome)
                break
            flight.sending()
            chunk.append(encoded)
            size += len(encoded)
            if size >= _CHUNK_BYTES:
                self._write(chunk)
                chunk, size = [], 0
        if chunk:
            self._write(chunk)

    def _write(self, chunk: list[bytes]) -> None:
        if self._wire is not None:
            self._wire.write(b"".join(chunk))

    def _on_confirm(self, frame: Any) -> None:
        self._progress = time.monotonic()
        if self._flight is None:
            return  # the confirm that follows a returned message
        method = frame.method
        if isinstance(method, spec.Basic.Nack):
            self._flight.confirm(method.delivery_tag, method.multiple, _NACKED)
        else:
            self._flight.confirm(method.delivery_tag, method.multiple)
        self._proceed()

    def _on_returned(self, _channel: Any, method: Any, properties: Any, _body: bytes) -> None:
        if self._flight is None or properties.message_id is None:
            return
        self._is_queue_missing = self._options.queue is not None
        detail = f"{method.reply_text}: no queue takes routing key {method.routing_key}"
        outcome = Outcome(Verdict.RETRY, "unroutable", f"{detail} from exchange '{method.exchange}'")
        self._flight.give_back(properties.message_id.encode(), outcome)
        self._proceed()

    def _on_channel_closed(self, channel: Any, error: BaseException) -> None:
        self._channel = None
        if not isinstance(error, pika_errors.ChannelClosedByBroker):
            return  # the whole connection ends, which is told by its own callback
        flight, self._flight = self._flight, None
        limit = errors.message_size_limit(error)
        if not limit or flight is None or self._encoder is None:
            self._end(errors.channel_refused(error, self._options))
            self._leave()
            return
        self._max_message_bytes = limit
        flight.abandon(functools.partial(_beyond, limit, self._encoder.body_size))
        self._answer(flight.outcomes())

    def _leave(self) -> None:
        """Say good-bye, and cut when no answer comes."""
        if self._wire is None or not self._wire.is_open:
            self._cut()
            return
        self._wire.close()
        self._ioloop.call_later(CLOSE_SECONDS, self._cut)

    def _cut(self) -> None:
        if self._wire is None or self._wire.is_closed:
            self._ioloop.stop()
        else:
            self._wire.cut()


def _parameters(options: RabbitmqOptions, context: SinkContext) -> pika.ConnectionParameters:
    tls = None
    if options.uses_tls:
        tls = pika.SSLOptions(options.tls_context(), options.host)
    return pika.ConnectionParameters(
        host=options.host,
        port=options.port,
        virtual_host=options.vhost,
        credentials=pika.PlainCredentials(options.username, options.read_password(), erase_on_connect=True),
        heartbeat=math.ceil(options.heartbeat),
        blocked_connection_timeout=options.blocked_connection_timeout,
        # A host may have several addresses: one that is silent must leave time for the next.
        socket_timeout=options.connect_timeout / 2,
        stack_timeout=options.connect_timeout,
        connection_attempts=1,
        ssl_options=tls,
        client_properties={
            "connection_name": context.client_id,
            "product": "inotify-bridge",
            "version": __version__,
        },
    )


def _beyond(limit: int, body_size: Callable[[Message], int], message: Message) -> Outcome:
    """The verdict on an unconfirmed message when the channel closed over one that is too large."""
    size = body_size(message)
    if size > limit:
        return too_large(size, limit)
    return Outcome(Verdict.RETRY, "too_large", "unconfirmed when the broker refused a message behind it")


# pika logs every failure as an error, with tracebacks, before it tells the callbacks above.
silence_driver("pika")
