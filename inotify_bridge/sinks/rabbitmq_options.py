"""The configuration of a ``rabbitmq`` sink."""

from __future__ import annotations

import os
import re
import ssl
import string
from typing import Annotated, Any, Final, Literal, Self
from urllib.parse import SplitResult, unquote, urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from inotify_bridge.errors import SinkMisconfigured
from inotify_bridge.sinks.registry import is_this_machine
from inotify_bridge.units import Seconds

_PORTS: Final = {"amqp": 5672, "amqps": 5671}
# Up to the last @: a password with an unescaped / or ? must not stay behind in the path or the query.
_USERINFO = re.compile(r"(\w+://)([^:]*)(?::(.*))?@(.*)", re.DOTALL)
_MODEL = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, hide_input_in_errors=True)
_Time = Annotated[Seconds, Field(gt=0)]
_Name = Annotated[str, Field(max_length=255)]


class TlsOptions(BaseModel):
    """How an ``amqps`` connection is secured."""

    model_config = _MODEL

    ca_file: str | None = None
    """PEM file of the authorities to trust instead of the system's."""
    cert_file: str | None = None
    """PEM file of the client's certificate."""
    key_file: str | None = None
    """PEM file of the client's key, where it is not in cert_file."""
    insecure: bool = False
    """Accept any certificate of any host: anyone on the way can read and change everything."""

    @model_validator(mode="after")
    def _key_needs_certificate(self) -> Self:
        if self.key_file and not self.cert_file:
            raise ValueError("key_file needs cert_file")
        return self

    def context(self) -> ssl.SSLContext:
        """
        The files, read now.

        Raises:
            SinkMisconfigured: one of them cannot be used.
        """
        try:
            context = ssl.create_default_context(cafile=self.ca_file)
            if self.cert_file:
                context.load_cert_chain(self.cert_file, self.key_file, password=_no_passphrase)
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            files = ", ".join(filter(None, (self.ca_file, self.cert_file, self.key_file)))
            raise SinkMisconfigured(
                f"TLS files cannot be used: {files}: {error}",
                "ca_file, cert_file and key_file are readable PEM files, a key without passphrase",
                "auth",
            ) from error
        if self.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


class RabbitmqOptions(BaseModel):
    """Configuration of a ``rabbitmq`` sink."""

    model_config = _MODEL

    url: str
    """``amqp://user@host:port/vhost``, or ``amqps://`` for TLS; the vhost ``/`` is written ``%2F``."""
    username: str = ""
    """User name, where it is not in the URL."""
    password: SecretStr | None = None
    """The password itself; better: password_file."""
    password_file: str | None = None
    """File with the password, read again at every connect."""
    exchange: _Name = "inotify-bridge"
    """Exchange to publish to; empty: the default exchange, whose routing key is the name of a queue."""
    exchange_type: str = "topic"
    """Type of the exchange."""
    declare_exchange: bool = True
    """Make the exchange, durable, where it does not exist."""
    routing_key: str = "{group}.{kind}"
    """Template with {group}, {kind} and {source}."""
    queue: Annotated[str, Field(min_length=1, max_length=255)] | None = None
    """A durable queue to make and to bind to the exchange; without it consumers bring their own queues."""
    queue_type: Literal["quorum", "classic"] = "quorum"
    """Type of the queue."""
    binding_key: str = "{group}.#"
    """Template of the queue's binding, with {group} and {source}."""
    heartbeat: _Time = 30.0
    """Interval of heartbeats; an idle connection counts as lost after two silent ones, 5 s more each."""
    connect_timeout: _Time = 10.0
    """Longest wait for a connection that is ready to publish."""
    confirm_timeout: _Time = 30.0
    """Longest wait for the next confirm before the connection is given up."""
    blocked_connection_timeout: _Time = 60.0
    """Longest wait while the broker blocks publishers, being low on memory or disk."""
    window: Annotated[int, Field(ge=1, le=1_000_000)] = 2000
    """Most messages sent without a confirm."""
    tls: TlsOptions | None = None
    """For ``amqps``."""

    @model_validator(mode="before")
    @classmethod
    def _take_credentials_out_of_url(cls, values: Any) -> Any:
        """The URL keeps no password: it is shown in errors, logs and status."""
        if not isinstance(values, dict) or not isinstance(values.get("url"), str):
            return values
        found = _USERINFO.match(values["url"])
        if found is None:
            return values
        scheme, username, password, rest = found.groups()
        taken = dict(values, url=scheme + rest)
        if values.get("username"):
            raise ValueError("the user name stands twice: in url and in username")
        taken["username"] = unquote(username)
        if password is not None:
            if values.get("password") or values.get("password_file"):
                raise ValueError("the password stands twice: in url and in password or password_file")
            taken["password"] = unquote(password)
        return taken

    @field_validator("url")
    @classmethod
    def _known_url(cls, value: str) -> str:
        _split(value)
        return value

    @field_validator("exchange", "queue")
    @classmethod
    def _short_in_bytes(cls, value: str | None) -> str | None:
        if value is not None and len(value.encode()) > 255:
            raise ValueError("is longer than 255 bytes")
        return value

    @field_validator("routing_key")
    @classmethod
    def _routing_key_template(cls, value: str) -> str:
        return _template(value, {"group", "kind", "source"})

    @field_validator("binding_key")
    @classmethod
    def _binding_key_template(cls, value: str) -> str:
        return _template(value, {"group", "source"})

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if not self.username:
            raise ValueError("no user name: write it into url (amqp://user@host) or username")
        if (self.password is None) == (self.password_file is None):
            raise ValueError("exactly one of password and password_file is needed")
        if self.tls is not None and not self.uses_tls:
            raise ValueError("tls needs an amqps:// url")
        return self

    @property
    def uses_tls(self) -> bool:
        """Whether the connection is encrypted."""
        return self.url.startswith("amqps:")

    @property
    def is_insecure(self) -> bool:
        """Whether others on the way could read and change what is sent."""
        return self.tls.insecure if self.tls else not (self.uses_tls or is_this_machine(self.host))

    @property
    def host(self) -> str:
        """Host name or address."""
        return _split(self.url).hostname or ""

    @property
    def port(self) -> int:
        """TCP port."""
        parts = _split(self.url)
        return parts.port or _PORTS[parts.scheme]

    @property
    def vhost(self) -> str:
        """Virtual host; the URL without a path means ``/``."""
        return unquote(_split(self.url).path[1:]) or "/"

    @property
    def place(self) -> str:
        """Which broker, for messages: host, port and virtual host."""
        return f"RabbitMQ {self.host}:{self.port} vhost {self.vhost}"

    def tls_context(self) -> ssl.SSLContext:
        """How to secure the connection. Raises: SinkMisconfigured, see `TlsOptions.context`."""
        return (self.tls or TlsOptions()).context()

    def read_password(self) -> str:
        """
        The password as it is now.

        Raises:
            SinkMisconfigured: its file cannot be read.
        """
        if self.password is not None:
            return self.password.get_secret_value()
        try:
            with open(os.fspath(self.password_file or ""), encoding="utf-8") as file:
                return file.read().rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
            raise SinkMisconfigured(
                f"{self.place}: password file {self.password_file} cannot be read: {reason}",
                "check password_file and its permissions",
                "auth",
            ) from error


def _split(url: str) -> SplitResult:
    parts = urlsplit(url)
    if parts.scheme not in _PORTS:
        raise ValueError("url begins with amqp:// or amqps://")
    if parts.query or parts.fragment:
        # pika would evaluate ssl_options and more from there, and could drop the verification of certificates
        raise ValueError("url takes no ?options: use the options of the sink")
    if not parts.hostname:
        raise ValueError("url names no host")
    if "/" in parts.path[1:]:
        raise ValueError("url has more than one path segment: a / in a vhost is written %2F")
    try:
        _ = parts.port
    except ValueError:
        raise ValueError("the port in url is no number from 1 to 65535") from None
    return parts


def _template(value: str, allowed: set[str]) -> str:
    try:
        fields = {name for _, name, _, _ in string.Formatter().parse(value) if name is not None}
    except ValueError:
        raise ValueError("has a single brace: a field is written {group}, a brace {{") from None
    if unknown := fields - allowed:
        known = ", ".join(f"{{{name}}}" for name in sorted(allowed))
        raise ValueError(f"has an unknown field {{{min(unknown)}}}: known are {known}")
    return value


def _no_passphrase() -> str:
    """Called for an encrypted key; OpenSSL would ask on the terminal."""
    raise ValueError("the key is encrypted")
