"""The configuration of the RabbitMQ sink: what is taken, what is refused, what is never shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from inotify_bridge.errors import ConfigError, SinkMisconfigured
from inotify_bridge.sinks.base import SinkContext
from inotify_bridge.sinks.rabbitmq import RabbitmqSink
from inotify_bridge.sinks.rabbitmq_options import RabbitmqOptions

URL = "amqp://guest@localhost:5672/%2F"


def options(**values: Any) -> RabbitmqOptions:
    """Options from values, with a password where none is given."""
    if not values.keys() & {"password", "password_file"}:
        values["password"] = "secret"
    return RabbitmqOptions.model_validate({"url": URL, **values})


def context(**changes: str) -> SinkContext:
    made = SinkContext("orders", "uploads", "inotify://web-1/uploads", "structured", "group", "client")
    return made._replace(**changes)


@pytest.mark.parametrize(
    ("url", "host", "port", "vhost"),
    [
        ("amqp://u@mq", "mq", 5672, "/"),
        ("amqp://u@mq/", "mq", 5672, "/"),
        ("amqp://u@mq:1234/%2F", "mq", 1234, "/"),
        ("amqps://u@mq.example.org/orders", "mq.example.org", 5671, "orders"),
        ("amqp://u@[::1]:5673/a%2Fb", "::1", 5673, "a/b"),
    ],
)
def test_url_names_the_place(url: str, host: str, port: int, vhost: str) -> None:
    """Host, port and virtual host come out of the URL, with the defaults of AMQP."""
    made = options(url=url)
    assert (made.host, made.port, made.vhost) == (host, port, vhost)


def test_credentials_leave_the_url() -> None:
    """User and password are taken out of the URL, percent-decoded."""
    made = RabbitmqOptions(url="amqp://us%40er:p%3Aa%2Fss@mq/v")
    assert made.username == "us@er"
    assert made.read_password() == "p:a/ss"
    assert made.url == "amqp://mq/v"


@pytest.mark.parametrize("password", ["hidden", "hid/den?x#y", "hid@den"])
def test_password_is_never_shown(password: str) -> None:
    """No repr, dump or error shows the password, not even one that should have been percent-encoded."""
    made = RabbitmqOptions(url=f"amqp://guest:{password}@mq:5672/v")
    assert made.read_password() == password
    for shown in (repr(made), str(made), made.model_dump_json(), made.place):
        assert password not in shown
    with pytest.raises(ValidationError) as caught:
        RabbitmqOptions(url=f"http://guest:{password}@mq/v?x=y", window=0)
    assert password not in str(caught.value)
    assert {one["loc"] for one in caught.value.errors()} == {("url",), ("window",)}
    assert password not in str([one["input"] for one in caught.value.errors()])


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"url": "http://u@mq"}, "amqp:// or amqps://"),
        ({"url": "mq:5672"}, "amqp:// or amqps://"),
        ({"url": "amqp://u@"}, "no host"),
        ({"url": "amqp://u@mq:99999"}, "port"),
        ({"url": "amqp://u@mq/a/b"}, "%2F"),
        ({"url": "amqps://u@mq/?ssl_options=%7B%27protocol%27%3A2%7D"}, "no ?options"),
        ({"url": "amqp://mq"}, "no user name"),
        ({"url": "amqp://a@mq", "username": "b"}, "twice"),
        ({"url": "amqp://a:p@mq", "password": "q"}, "twice"),
        ({"url": "amqp://a:p@mq", "password_file": "/f"}, "twice"),
        ({"password": "p", "password_file": "/f"}, "exactly one"),
        ({"password": None}, "exactly one"),
        ({"tls": {}}, "amqps"),
        ({"url": "amqps://u@mq", "tls": {"key_file": "k"}}, "cert_file"),
        ({"routing_key": "{path}"}, "unknown field {path}"),
        ({"routing_key": "{group"}, "single brace"),
        ({"binding_key": "{kind}"}, "unknown field {kind}"),
        ({"exchange": "ä" * 128}, "255 bytes"),
        ({"queue": ""}, "at least 1 character"),
        ({"queue_type": "stream"}, "quorum"),
        ({"window": 0}, "greater than or equal to 1"),
        ({"confirm_timeout": 0}, "greater than 0"),
        ({"heartbeat": "soon"}, "is no time"),
        ({"mandatory": False}, "Extra inputs"),
    ],
)
def test_refused(values: dict[str, Any], words: str) -> None:
    """What cannot work is refused before anything is connected, in words that say why."""
    with pytest.raises(ValidationError) as caught:
        options(**values)
    assert words in str(caught.value)


def test_units() -> None:
    """Times take units."""
    assert options(heartbeat="1m", confirm_timeout="250ms").heartbeat == 60


@pytest.mark.parametrize("key", ["routing_key", "binding_key"])
def test_key_too_long_for_amqp(key: str) -> None:
    """A key that becomes longer than 255 bytes for this group is refused before anything is connected."""
    made = options(**{key: "{source}"})
    RabbitmqSink(made, context())
    with pytest.raises(ConfigError, match=f"{key}.*255"):
        RabbitmqSink(made, context(source="inotify://" + "h" * 250))


def test_password_file(tmp_path: Path) -> None:
    """The password file is read at each use, without the end of its line."""
    file = tmp_path / "password"
    made = options(password_file=str(file))
    with pytest.raises(SinkMisconfigured, match="cannot be read: No such file") as caught:
        made.read_password()
    assert caught.value.reason == "auth"
    for password in ("first", " with blanks "):
        file.write_text(password + "\n")
        assert made.read_password() == password


def test_unusable_tls_files(tmp_path: Path) -> None:
    """A certificate file that cannot be used is named at connect."""
    file = tmp_path / "ca.pem"
    file.write_text("no certificate")
    made = options(url="amqps://u@mq", tls={"ca_file": str(file)})
    with pytest.raises(SinkMisconfigured, match=r"TLS files cannot be used: .*ca\.pem"):
        made.tls_context()


def test_insecure_is_loud(caplog: pytest.LogCaptureFixture) -> None:
    """A sink that does not check certificates says so in the log."""
    RabbitmqSink(options(url="amqps://u@mq", tls={"insecure": True}), context())
    assert "tls.insecure is on" in caplog.text


def test_schema_describes_every_option() -> None:
    """The JSON Schema has a description for every option."""
    properties = RabbitmqOptions.model_json_schema()["properties"]
    assert [name for name, schema in properties.items() if not schema.get("description")] == []
