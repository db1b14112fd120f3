"""The topics of a Kafka broker, each step waited for: a controller answers before its broker has followed."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping
from typing import Any

from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka import admin as admin_module

from tests.waiting import eventually

# Of a broker on a busy machine, or one that has just started or thawed and that its controller does not know
# again yet: every step is tried anew for so long.
_PATIENCE_SECONDS = 120.0
_ATTEMPT_SECONDS = 20.0
_END_SECONDS = 60.0

_parts: dict[str, Any] = vars(admin_module)  # its types do not export what they describe
_LATEST: Any = _parts["OffsetSpec"].latest()


class KafkaTopics:
    """
    Topics by name. Each call has a client of its own, which ends with it and with the futures that it gave.

    Args:
        address: ``host:port`` of a listener that is open to everybody.
    """

    def __init__(self, address: str) -> None:
        self._settings = {"bootstrap.servers": address, "log_level": 0}

    def names(self) -> set[str]:
        """Those that there are."""
        with self._client() as admin:
            return _names(admin)

    def create(
        self, name: str, partitions: int = 1, config: Mapping[str, str] | None = None, replicas: int = 1
    ) -> None:
        """Make one; returns when every partition can be written. One that is there is left as it is."""
        topic = _parts["NewTopic"](name, partitions, replicas, config=dict(config or {}))
        with self._client() as admin:

            def made() -> bool:
                return name in _names(admin) or _done(
                    admin.create_topics([topic], request_timeout=_ATTEMPT_SECONDS)
                )

            eventually(made, within=_PATIENCE_SECONDS, what=f"topic {name} is made", poll=0.1)
            _await_leaders(admin, name)

    def delete(self, name: str) -> None:
        """Delete one, if it is there; returns when the broker has forgotten it."""
        with self._client() as admin:

            def gone() -> bool:
                if name in _names(admin):
                    _done(admin.delete_topics([name], request_timeout=_ATTEMPT_SECONDS))
                return name not in _names(admin)

            eventually(gone, within=_PATIENCE_SECONDS, what=f"topic {name} is deleted", poll=0.05)

    def await_leaders(self) -> None:
        """Wait until every partition of all topics is led by a broker that knows of it."""
        with self._client() as admin:
            _await_leaders(admin, None)

    @contextlib.contextmanager
    def _client(self) -> Iterator[Any]:
        admin = _parts["AdminClient"](self._settings)
        try:
            yield admin
        finally:
            # librdkafka may wait for ever for the connection to a broker that was killed (its issue 4131): in
            # C, where no timeout of a test reaches it.
            ending = threading.Thread(target=admin.__exit__, args=(None, None, None), daemon=True)
            ending.start()
            ending.join(_END_SECONDS)


def _await_leaders(admin: Any, name: str | None) -> None:
    """
    Wait for the leaders of a topic, or of all.

    A leader is known to all a little before it knows of it itself: a question about offsets tells.
    """
    eventually(
        lambda: _is_led(admin, name),
        within=_PATIENCE_SECONDS,
        what=f"leaders of {name or 'all topics'}",
        poll=0.05,
    )


def _is_led(admin: Any, name: str | None) -> bool:
    topics = _metadata(admin).topics
    if name is not None and name not in topics:
        return False
    wanted = [
        TopicPartition(topic, partition)
        for topic in ([name] if name is not None else topics)
        for partition in topics[topic].partitions
    ]
    if not wanted:
        return name is None
    return _done(admin.list_offsets(dict.fromkeys(wanted, _LATEST), request_timeout=_ATTEMPT_SECONDS))


def _names(admin: Any) -> set[str]:
    return set(_metadata(admin).topics)


def _metadata(admin: Any) -> Any:
    def ask() -> Any:
        try:
            return admin.list_topics(timeout=_ATTEMPT_SECONDS)
        except KafkaException:
            return None

    return eventually(ask, within=_PATIENCE_SECONDS, what="Kafka's metadata", poll=0.1)


def _done(futures: Mapping[Any, Any]) -> bool:
    """Whether all of them succeeded; the client ends each one by its own time-out."""
    return all(future.exception(_PATIENCE_SECONDS) is None for future in futures.values())
