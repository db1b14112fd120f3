"""What a Kafka broker's error codes mean to a relay. Both client libraries pass the protocol's numbers on."""

from __future__ import annotations

from typing import Final, NamedTuple

from inotify_bridge.errors import SinkMisconfigured, SinkUnavailable
from inotify_bridge.sinks.base import Outcome, Verdict

UNKNOWN_TOPIC: Final = 3
LEADER_NOT_AVAILABLE: Final = 5
NOT_LEADER: Final = 6
TOPIC_ALREADY_EXISTS: Final = 36
TOPIC_AUTHORIZATION_FAILED: Final = 29
_RECORD_TOO_LARGE = frozenset({10, 18})  # MESSAGE_TOO_LARGE, RECORD_LIST_TOO_LARGE
_RECORD_INVALID = frozenset({87})  # INVALID_RECORD
RECORD_REFUSED: Final = _RECORD_TOO_LARGE | _RECORD_INVALID
"""The broker refuses this batch for good because of a record in it; the connection is all right."""


class _Meaning(NamedTuple):
    reason: str
    what: str
    hint: str = ""
    for_operator: bool = False


_MISSING = _Meaning(
    "not_found",
    "Kafka topic '{topic}' does not exist",
    "create it, or configure create_topic: {{partitions: 1, replication_factor: 3}}",
    True,
)
_NO_RIGHT = _Meaning(
    "authorization",
    "Kafka does not authorize writing to topic '{topic}'",
    "grant this user WRITE and DESCRIBE on the topic",
    True,
)
_FEW_REPLICAS = _Meaning(
    "nacked",
    "Kafka topic '{topic}' has fewer in-sync replicas than min.insync.replicas",
    "bring the other brokers back",
)
_NO_LEADER = _Meaning("connection", "Kafka topic '{topic}' has no leader on this broker now")
_TOO_MANY_REPLICAS = _Meaning(
    "other",
    "Kafka cannot create topic '{topic}' as configured",
    "check create_topic.partitions and create_topic.replication_factor against the cluster",
    True,
)

_MEANINGS: Final = {
    UNKNOWN_TOPIC: _MISSING,
    100: _MISSING,  # UNKNOWN_TOPIC_ID
    17: _Meaning("other", "'{topic}' is no valid Kafka topic name", "change topic", True),
    TOPIC_AUTHORIZATION_FAILED: _NO_RIGHT,
    31: _Meaning(
        "authorization",
        "Kafka does not authorize this on the cluster (topic '{topic}')",
        "grant this user IDEMPOTENT_WRITE on the cluster, and CREATE where create_topic is used",
        True,
    ),
    # Brokers refuse what comes from more than an hour ahead (message.timestamp.after.max.ms, since Kafka
    # 4.0). The message is good, the clock is not: so nothing is parked for it.
    32: _Meaning(
        "nacked",
        "Kafka refuses the time of this machine's clock for topic '{topic}'",
        "set the clock, or set message.timestamp.type=LogAppendTime for the topic",
        True,
    ),
    33: _Meaning("auth", "Kafka does not support this SASL mechanism", "change sasl.mechanism", True),
    34: _Meaning("auth", "Kafka expects no SASL at this address", "remove sasl, or change the port", True),
    58: _Meaning(
        "auth", "Kafka refused user name or password", "check sasl.username and sasl.password", True
    ),
    LEADER_NOT_AVAILABLE: _NO_LEADER,
    NOT_LEADER: _NO_LEADER,
    9: _NO_LEADER,  # REPLICA_NOT_AVAILABLE
    74: _NO_LEADER,  # FENCED_LEADER_EPOCH
    7: _Meaning("timeout", "Kafka's replicas did not confirm in time"),
    19: _FEW_REPLICAS,
    20: _FEW_REPLICAS,  # …_AFTER_APPEND
    37: _TOO_MANY_REPLICAS,  # INVALID_PARTITIONS
    38: _TOO_MANY_REPLICAS,  # INVALID_REPLICATION_FACTOR
    44: _Meaning(
        "authorization", "a policy of the Kafka cluster forbids topic '{topic}'", "ask its operator", True
    ),
    56: _Meaning("nacked", "Kafka cannot write to its disk", "see the broker's log"),
}


def broker_error(code: int, name: str, topic: str, detail: str = "") -> SinkUnavailable:
    """
    The error of a session that a broker's answer has ended.

    Args:
        code: the protocol's number, above 0.
        name: its name, for codes without a sentence of their own.
        topic: which one it was about.
        detail: more words of the broker.
    """
    meaning = _MEANINGS.get(code) or _Meaning("other", f"Kafka answered {name} (topic '{{topic}}')")
    what = meaning.what.format(topic=topic)
    kind = SinkMisconfigured if meaning.for_operator else SinkUnavailable
    return kind(f"{what}: {detail}" if detail else what, meaning.hint.format(), meaning.reason)


def record_refused(code: int, detail: str) -> Outcome:
    """The outcome of one record that the broker refuses for good: `code` is one of `RECORD_REFUSED`."""
    return Outcome(Verdict.REJECTED, "too_large" if code in _RECORD_TOO_LARGE else "other", detail)


def too_large(size: int, limit: int) -> Outcome:
    """The outcome of one record above our own limit."""
    return Outcome(Verdict.REJECTED, "too_large", f"{size} bytes are more than max_message_bytes {limit}")
