"""Mutants of the sinks: what they take for a broker's word, and whom they trust."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from tests.mutants.mutant import Mutant
from tests.mutants.patching import Patch

_RABBITMQ = "tests/sinks/test_rabbitmq.py"
_KAFKA = "tests/sinks/test_kafka.py"


def _ack_on_send(patch: Patch) -> None:
    """RabbitMQ: a message counts as accepted when it is sent; its confirm is not awaited."""
    from inotify_bridge.sinks.rabbitmq_flight import Flight

    @patch.instead_of(Flight, "sending")
    def sending(original: Any, self: Any) -> None:
        original(self)
        self.confirm(self._first_tag + self._sent - 1, multiple=False)


def _kafka_ack_on_send(patch: Patch) -> None:
    """Kafka: records count as accepted when they are sent; the broker's answer is not awaited."""
    from inotify_bridge.sinks.kafka_python import PythonClient

    @patch.instead_of(PythonClient, "_answers")
    def answers(original: Any, self: Any, waiting: Any, deadline: float) -> dict[int, Any]:
        return {partition: SimpleNamespace(error_code=0) for partition in self._leaders}


def _session_not_fenced(patch: Patch) -> None:
    """Kafka: every session is another producer, so that a late request of an old one is still taken."""
    from inotify_bridge.sinks.kafka_python import PythonClient

    @patch.instead_of(PythonClient, "_begin_epoch")
    def begin_epoch(original: Any, self: Any, connection: Any, cluster: str) -> None:
        self._producer = -1
        original(self, connection, cluster)


def _unroutable_accepted(patch: Patch) -> None:
    """RabbitMQ: a message that no queue got counts as accepted."""
    from inotify_bridge.sinks.rabbitmq_connection import Connection

    @patch.instead_of(Connection, "_on_returned")
    def on_returned(original: Any, self: Any, *arguments: Any) -> None:
        """The acceptance that follows counts."""


def _database_watermark_kept(patch: Patch) -> None:
    """SQL: rows are committed, and how far they go is not."""
    from inotify_bridge.sinks.sql_watermark import Watermark

    @patch.instead_of(Watermark, "move")
    def move(original: Any, self: Any, connection: Any, before: Any, after: Any) -> None:
        """It stays where it is."""


def _lost_transaction_not_awaited(patch: Patch) -> None:
    """SQL: how far rows go is read without a lock, and moved whatever stands there."""
    from sqlalchemy import select, update

    from inotify_bridge.sinks import sql_watermark
    from inotify_bridge.sinks.sql_watermark import Watermark

    table = sql_watermark._TABLE

    @patch.instead_of(Watermark, "read")
    def read(original: Any, self: Any, connection: Any) -> Any:
        row = connection.execute(select(table.c.epoch, table.c.sequence).where(self._own)).one()
        return row.epoch, row.sequence

    @patch.instead_of(Watermark, "move")
    def move(original: Any, self: Any, connection: Any, before: Any, after: Any) -> None:
        connection.execute(update(table).where(self._own).values(epoch=after[0], sequence=after[1]))


def _any_certificate_of_a_database(patch: Patch) -> None:
    """SQL: PostgreSQL's certificate is not verified."""
    from inotify_bridge.sinks.sql_drivers import PostgresqlDriver

    @patch.instead_of(PostgresqlDriver, "_tls")
    def tls(original: Any, self: Any) -> dict[str, str]:
        return {"sslmode": "require"}


def _queue_not_declared_again(patch: Patch) -> None:
    """RabbitMQ: a queue that was deleted while the agent runs stays away until the next connection."""
    from inotify_bridge.sinks.rabbitmq_connection import Connection

    @patch.instead_of(Connection, "_on_returned")
    def on_returned(original: Any, self: Any, *arguments: Any) -> None:
        original(self, *arguments)
        self._is_queue_missing = False


def _check_silent(patch: Patch) -> None:
    """A sink with nothing to send does not look whether its broker is still there."""
    from inotify_bridge.sinks.rabbitmq import RabbitmqSink

    @patch.instead_of(RabbitmqSink, "check")
    def check(original: Any, self: Any) -> None:
        """All is well."""


def _newest_is_none(patch: Patch) -> None:
    """A sink that holds more than the database knows does not say so: numbers are given twice."""
    from inotify_bridge.sinks.jsonl import JsonlSink

    @patch.instead_of(JsonlSink, "newest")
    def newest(original: Any, self: Any) -> None:
        """Nothing is told."""


def _comparison_not_awaited(patch: Patch) -> None:
    """Sinks get what is new before those that remember were asked whether the state is an older copy."""
    from inotify_bridge.outbox.comparison import Comparison

    @patch.instead_of(Comparison, "free")
    def free(original: Any, self: Any, epoch: str, first: int, count: int) -> int:
        return count


def _foreign_line_cut(patch: Patch) -> None:
    """jsonl: half a line at the end of somebody else's file is cut off, and messages are put behind it."""
    from inotify_bridge.sinks import jsonl

    @patch.instead_of(jsonl, "_is_of_a_crash")
    def is_of_a_crash(original: Any, piece: bytes, length: int) -> bool:
        return True


def _certificate_not_verified(patch: Patch) -> None:
    """TLS connects to whoever answers, under whatever name."""
    from inotify_bridge.sinks.rabbitmq_options import TlsOptions

    _trusting(patch, TlsOptions, "context")


def _kafka_certificate_not_verified(patch: Patch) -> None:
    """TLS to Kafka connects to whoever answers, under whatever name."""
    from inotify_bridge.sinks import kafka_connection

    _trusting(patch, kafka_connection, "_tls_context")


def _trusting(patch: Patch, owner: Any, name: str) -> None:
    """What makes a TLS context makes one that verifies nothing."""
    import ssl

    @patch.instead_of(owner, name)
    def context(original: Any, options: Any) -> ssl.SSLContext:
        made: ssl.SSLContext = original(options)
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
        return made


def _secret_in_an_error(patch: Patch) -> None:
    """The error about a refused connection repeats the password."""
    from inotify_bridge.sinks import rabbitmq_errors

    @patch.instead_of(rabbitmq_errors, "connect_failed")
    def connect_failed(original: Any, error: BaseException, options: Any) -> Any:
        told = original(error, options)
        return type(told)(f"{told.message} ({options.read_password()})", told.hint, told.reason)


MUTANTS = (
    Mutant(
        "ack on send",
        "R7",
        _ack_on_send,
        f"{_RABBITMQ}::TestRabbitmq::test_nothing_is_accepted_by_a_frozen_broker",
    ),
    Mutant(
        "ack on send to Kafka",
        "R7",
        _kafka_ack_on_send,
        f"{_KAFKA}::TestKafka::test_nothing_is_accepted_by_a_frozen_broker[kafka-python]",
    ),
    Mutant(
        "old Kafka session not fenced",
        "R6",
        _session_not_fenced,
        "tests/sinks/test_kafka_sessions.py::test_late_request_of_an_old_session_is_refused",
    ),
    Mutant(
        "unroutable counted as accepted",
        "R2",
        _unroutable_accepted,
        f"{_RABBITMQ}::TestRabbitmq::test_unroutable_is_retried",
    ),
    Mutant(
        "database watermark not moved",
        "R7",
        _database_watermark_kept,
        "tests/sinks/test_sql.py::test_what_is_sent_again_is_stored_once[sqlite]",
    ),
    Mutant(
        "second writer of rows unnoticed",
        "R7",
        _lost_transaction_not_awaited,
        "tests/sinks/test_sql.py::test_a_second_writer_of_a_stream_is_noticed[sqlite]",
    ),
    Mutant(
        "TLS to a database not verified",
        "R19",
        _any_certificate_of_a_database,
        "tests/sinks/test_sql_failures.py::test_tls_is_verified",
    ),
    Mutant(
        "queue not declared again",
        "R2",
        _queue_not_declared_again,
        "tests/broker_faults/test_rabbitmq.py::test_queue_deleted",
    ),
    Mutant(
        "check silent",
        "R2",
        _check_silent,
        f"{_RABBITMQ}::TestRabbitmq::test_loss_is_noticed_while_idle",
    ),
    Mutant(
        "newest is None",
        "R5",
        _newest_is_none,
        "tests/state/test_epochs.py::test_a_sink_that_knows_better",
    ),
    Mutant(
        "comparison not awaited",
        "R5",
        _comparison_not_awaited,
        "tests/state/test_sink_ahead.py::test_others_wait_for_the_one_that_remembers",
    ),
    Mutant(
        "foreign half line cut",
        "R15",
        _foreign_line_cut,
        "tests/sinks/test_jsonl.py::test_a_file_of_others_is_left_alone",
    ),
    Mutant(
        "TLS not verified",
        "R19",
        _certificate_not_verified,
        "tests/sinks/test_rabbitmq_failures.py::test_tls_with_an_unknown_authority",
    ),
    Mutant(
        "TLS to Kafka not verified",
        "R19",
        _kafka_certificate_not_verified,
        "tests/sinks/test_kafka.py::test_certificate_of_another_host[kafka-python]",
    ),
    Mutant(
        "secret in an error",
        "R19",
        _secret_in_an_error,
        f"{_RABBITMQ}::TestRabbitmq::test_wrong_password",
    ),
)
