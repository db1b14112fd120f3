"""
The contract between a relay and a sink: the only thing that they share.

A relay calls one sink from one thread: `connect`, then `publish` batch after batch, then `close`. It alone
retries, backs off, counts and times. A sink never loops over failures, sleeps, or logs and continues: it
returns a verdict for each message or raises.
"""

from __future__ import annotations

import enum
import json
import re
import struct
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

from inotify_bridge.errors import SinkUnavailable

_HEAD = struct.Struct("<QdBH")  # sequence, time, length of kind, length of key
_PLACE = re.compile(r"([0-9a-f]{20})-([0-9]{12,19})")  # epoch and sequence, as messages carry them


class Message(NamedTuple):
    """
    One message of a group's stream, as the journal holds it.

    Args:
        sequence: number within (group, epoch), dense from 1.
        time: when the notifier read it, Unix seconds (for latency figures).
        kind: event kind without prefix and version, for example ``file.written`` or ``stream.started``.
        key: partition key, UTF-8, never a raw path.
        body: the CloudEvents envelope in structured JSON mode, UTF-8; ``data`` is its last member.
    """

    sequence: int
    time: float
    kind: str
    key: bytes
    body: bytes

    def pack(self) -> bytes:
        """The message as one journal record."""
        kind = self.kind.encode()
        return b"".join(
            (_HEAD.pack(self.sequence, self.time, len(kind), len(self.key)), kind, self.key, self.body)
        )

    @classmethod
    def unpack(cls, record: bytes) -> Message:
        """The inverse of `pack`."""
        sequence, time, kind_length, key_length = _HEAD.unpack_from(record)
        key_at = _HEAD.size + kind_length
        body_at = key_at + key_length
        return cls(
            sequence, time, record[_HEAD.size : key_at].decode(), record[key_at:body_at], record[body_at:]
        )

    def attributes(self) -> dict[str, str]:
        """The CloudEvents attributes without ``data``, for binary content mode."""
        # A quote inside a JSON string is always escaped: this byte sequence occurs once, where data begins.
        end = self.body.index(b',"data":{')
        decoded: dict[str, str] = json.loads(self.body[:end] + b"}")
        return decoded

    def data(self) -> bytes:
        """The JSON text of ``data`` alone, for binary content mode."""
        return self.body[self.body.index(b',"data":{') + len(b',"data":') : -1]


class Verdict(enum.Enum):
    """What became of one message."""

    ACCEPTED = "accepted"  # the broker has confirmed that it holds the message durably
    RETRY = "retry"  # not taken now, or unknown: the relay sends it and all after it again
    REJECTED = "rejected"  # never to be taken (too large, refused for good): the relay parks it


class Outcome(NamedTuple):
    """
    The verdict on one message.

    Args:
        verdict: see `Verdict`.
        reason: class of the failure, one of `errors.SINK_ERROR_REASONS`; empty when accepted.
        detail: the broker's words, for the log and for `parked list`. Of a message that is accepted: why it
            is held, durably, but apart from the others; the relay counts it.
    """

    verdict: Verdict
    reason: str = ""
    detail: str = ""


ACCEPTED = Outcome(Verdict.ACCEPTED)


class SinkContext(NamedTuple):
    """
    What the agent tells a sink about the pair it serves.

    Args:
        name: the sink's name in the configuration.
        group: the watch group's name.
        source: the CloudEvents source of the group's stream.
        content_mode: ``structured`` or ``binary``.
        partition_by: ``group``, ``path`` or ``directory``.
        client_id: a name for this connection that a broker may show.
    """

    name: str
    group: str
    source: str
    content_mode: str
    partition_by: str
    client_id: str


@runtime_checkable
class Sink(Protocol):
    """
    A place that takes messages. Used by one relay thread only, from connect to close.

    A class that is registered under the entry point group ``inotify_bridge.sinks`` also has a pydantic model
    ``Options`` (its configuration without ``name`` and ``type``, unknown keys forbidden) and is made by
    ``cls(options, context)``; making one opens nothing.
    """

    def connect(self) -> None:
        """
        Open the connection and make sure that messages can be taken.

        Raises:
            SinkUnavailable: the relay closes the sink, backs off and calls again.
        """

    def publish(self, batch: Sequence[Message]) -> Sequence[Outcome]:
        """
        Send the messages in order and wait until each is confirmed or refused.

        Returns:
            One outcome a message, in the order of the batch. After the first `RETRY` the rest may be
            `RETRY` too.

        Raises:
            SinkUnavailable: the connection was lost; nothing is known about the batch, all of it is sent
                again.
        """

    def close(self) -> None:
        """Close the connection. Idempotent, bounded in time, raises nothing; may come from another thread to
        interrupt a `publish`, which then raises `SinkUnavailable` promptly."""


@runtime_checkable
class Vigilant(Protocol):
    """
    What a sink may have besides: it knows that its connection has ended while nothing is sent.

    Without it a relay learns of that by the next message only.
    """

    def check(self) -> None:
        """
        Look whether the connection still stands. Called by the relay's thread about once a second while
        there is nothing to send, between `connect` and `close`; should return at once.

        Raises:
            SinkUnavailable: it does not; the relay closes the sink, backs off and connects again.
        """


class SinkFactory(Protocol):
    """What an entry point of the group ``inotify_bridge.sinks`` names: a sink class."""

    Options: Any

    def __call__(self, options: Any, context: SinkContext) -> Sink:
        """Make the sink. Opens nothing."""


class Newest(NamedTuple):
    """
    The last message of a source that a sink holds.

    Args:
        epoch, sequence: its place in the stream.
        body: the envelope in structured mode, where the sink kept it as it was.
    """

    epoch: str
    sequence: int
    body: bytes | None

    @classmethod
    def told(cls, source: object, place: object, wanted: str, body: bytes | None) -> Newest | None:
        """
        What the attributes of an event tell, of whatever kind they are: others may write there too.

        Args:
            source, place: its attributes ``source`` and ``sequence``.
            wanted: the source of ours.
            body: its envelope in structured mode, or None.
        Returns:
            None where it is no message of ours.
        """
        if source != wanted or not isinstance(place, str) or not (found := _PLACE.fullmatch(place)):
            return None
        return cls(found[1], int(found[2]), body)

    @classmethod
    def read(cls, envelope: bytes, wanted: str) -> Newest | None:
        """The same of bytes that may be an envelope in structured mode, or anything else."""
        try:
            event = json.loads(envelope)
        except (ValueError, RecursionError):
            return None
        if not isinstance(event, dict):
            return None
        return cls.told(event.get("source"), event.get("sequence"), wanted, envelope)


@runtime_checkable
class Remembering(Protocol):
    """
    What a sink may have besides: it can tell which message it holds last.

    With it a state database that was restored from a backup is noticed by what the sink has got since.
    """

    def newest(self) -> Newest | None:
        """
        The last message of the context's source, or None where it holds none. Called by the relay's thread
        after the first `connect`.

        Raises:
            SinkUnavailable: it cannot be read now; the relay closes the sink, backs off and connects again.
        """


@runtime_checkable
class Inspectable(Protocol):
    """What a sink class may have besides: it knows what this machine lacks, before anything is connected."""

    def inspect(self, options: Any) -> SinkUnavailable | None:
        """The first thing that would keep `connect` from succeeding, or None. Changes and sends nothing."""


class TakenFields(NamedTuple):
    """
    Which fields of log entries a sink keeps.

    Args:
        named: where in the options a field is named, and which.
        all: whether it keeps those that are not named too.
    """

    named: Mapping[tuple[str, ...], str]
    all: bool


@runtime_checkable
class Selective(Protocol):
    """
    What the options of a sink may have besides: they choose what is kept of log entries.

    With it `validate` compares what is chosen with what the patterns of the groups extract.
    """

    def log_fields(self) -> TakenFields | None:
        """What is kept; None: no log entries at all."""


def route(template: str, context: SinkContext, message: Message) -> str:
    """
    Fill ``{group}``, ``{kind}`` and ``{source}`` of a routing key or topic template.

    A path never stands in a routing key: names of files are hostile (CWE-117), and keys end at 255 bytes.
    """
    values: Mapping[str, str] = {"group": context.group, "kind": message.kind, "source": context.source}
    return template.format_map(values)
