"""Record batches as bytes, against kafka-python's own reader, and the options; no broker is needed."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka.record.memory_records import MemoryRecords
from kafka.record.util import calc_crc32c
from pydantic import ValidationError

from inotify_bridge.errors import ConfigError
from inotify_bridge.sinks.kafka import KafkaOptions, KafkaSink, split_address
from inotify_bridge.sinks.kafka_errors import broker_error
from inotify_bridge.sinks.kafka_records import BATCH_OVERHEAD, Record, Stamp, crc32c, encode_batch, sizes
from tests.sinks.harness import SinkHarness

HEADERS = st.lists(st.tuples(st.text(min_size=1, max_size=20), st.binary(max_size=200)), max_size=4).map(
    tuple
)
RECORDS = st.lists(
    st.builds(
        Record,
        partition=st.just(0),
        key=st.binary(max_size=300),
        value=st.binary(max_size=3000),
        headers=HEADERS,
        timestamp=st.integers(0, 1 << 45),
    ),
    min_size=1,
    max_size=20,
)


def test_crc_of_the_standard_vector() -> None:
    """The check value of CRC-32C."""
    assert crc32c(b"123456789") == 0xE3069283


@given(st.binary(min_size=4, max_size=3000), st.integers(1, 40))
def test_crc_agrees_with_the_table(piece: bytes, times: int) -> None:
    """Of any bytes, short or long enough for every step of folding, the CRC is that of a byte loop."""
    data = piece * times
    assert crc32c(data) == calc_crc32c(data)


def test_crc_of_a_large_batch() -> None:
    """Lengths around the largest steps."""
    for length in (9_180, 9_189, 73_444, 1_000_003):
        data = bytes(number * number % 251 for number in range(length))
        assert crc32c(data) == calc_crc32c(data)


@given(RECORDS, st.integers(0, 1 << 62), st.integers(0, 32767), st.integers(0, (1 << 31) - 1))
def test_batch_is_read_back(records: list[Record], producer: int, epoch: int, sequence: int) -> None:
    """kafka-python reads what was put into a batch, with a valid CRC, and it is no larger than foretold."""
    encoded = encode_batch(records, Stamp(producer, epoch, sequence))
    (batch,) = MemoryRecords(encoded)
    assert batch.validate_crc()
    assert (batch.producer_id, batch.producer_epoch, batch.base_sequence) == (producer, epoch, sequence)
    read = [Record(0, one.key, one.value, tuple(one.headers), one.timestamp) for one in batch]
    assert read == records
    assert len(encoded) <= BATCH_OVERHEAD + sum(sizes(records))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"bootstrap_servers": []}, "at least 1"),
        ({"bootstrap_servers": ["http://x:1"]}, "no host:port"),
        ({"bootstrap_servers": ["x:99999"]}, "no host:port"),
        ({"topic": "a/{group}"}, "no topic name"),
        ({"topic": "{kind}"}, "no topic name"),
        ({"acks": 1}, "Extra inputs"),
        ({"enable_idempotence": False}, "Extra inputs"),
        ({"partition": -1}, "greater than or equal to 0"),
        ({"create_topic": {"replication_factor": 0}}, "at least 1"),
        ({"tls": {"key_file": "k.pem"}}, "needs cert_file"),
        ({"sasl": {"mechanism": "PLAIN", "username": "a"}}, "either password or password_file"),
        ({"sasl": {"mechanism": "GSSAPI", "username": "a", "password": "p"}}, "'PLAIN'"),
    ],
)
def test_options_that_cannot_be(options: dict[str, Any], words: str) -> None:
    """What cannot work is refused with the reason before anything connects."""
    with pytest.raises(ValidationError, match=words):
        KafkaOptions.model_validate({"bootstrap_servers": ["localhost:9092"], **options})


def test_compression_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A compression without its library is refused with the pip command; the other client has its own."""
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name: None if name == "zstandard" else find_spec(name)
    )
    wanted = {"bootstrap_servers": ["localhost"], "compression": "zstd"}
    with pytest.raises(ValidationError, match="pip install zstandard"):
        KafkaOptions.model_validate(wanted)
    KafkaOptions.model_validate({**wanted, "client": "confluent"})


def test_client_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Choosing confluent without its library names the extra to install: in the options, and in use."""
    wanted = {"bootstrap_servers": ["localhost"], "client": "confluent"}
    options = KafkaOptions.model_validate(wanted)
    monkeypatch.setitem(__import__("sys").modules, "confluent_kafka", None)
    with pytest.raises(ValidationError, match=r"pip install 'inotify-bridge\[confluent\]'"):
        KafkaOptions.model_validate(wanted)
    with pytest.raises(ConfigError, match=r"pip install 'inotify-bridge\[confluent\]'"):
        KafkaSink(options, SinkHarness.context)


@pytest.mark.parametrize(
    ("text", "address"),
    [("h", ("h", 9092)), ("h:1", ("h", 1)), ("[::1]:5", ("::1", 5)), ("[::1]", ("::1", 9092))],
)
def test_addresses(text: str, address: tuple[str, int]) -> None:
    """Host and port, with Kafka's default port and IPv6 in brackets."""
    assert split_address(text) == address


@pytest.mark.parametrize("code", range(-1, 120))
def test_every_code_of_a_broker_has_a_sentence(code: int) -> None:
    """Whatever a broker answers becomes one line with the topic or a hint, and a known reason."""
    error = broker_error(code, f"CODE_{code}", "orders")
    assert "\n" not in str(error)
    assert "{" not in error.message
    assert "orders" in error.message or error.hint or "Kafka" in error.message
