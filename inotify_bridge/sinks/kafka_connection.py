"""
One connection to one Kafka broker, in blocking calls: kafka-python encodes and decodes, and owns no thread.

The library's own producer runs a sender thread that cannot be stopped while a broker is silent, holds what it
was given without a bound, and costs 70 to 250 µs a message. Here nothing lives but the calling thread, so a
session that has ended sends nothing more: what it had handed to the kernel is thrown away by `abort`.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import time
from typing import Any, Final

from kafka.errors import IncompatibleBrokerVersion, KafkaError, for_code
from kafka.net.sasl import get_sasl_mechanism
from kafka.protocol.broker_version_data import BrokerVersionData
from kafka.protocol.metadata import ApiVersionsRequest
from kafka.protocol.parser import KafkaProtocol
from kafka.protocol.sasl import SaslAuthenticateRequest, SaslHandshakeRequest

from inotify_bridge.errors import SinkMisconfigured, SinkUnavailable
from inotify_bridge.sinks.kafka import KafkaOptions, Sasl, Tls
from inotify_bridge.sinks.kafka_errors import broker_error

_MOST_BYTES_RECEIVED: Final = 64 * 1024 * 1024  # a metadata answer of a large cluster is a few MB
_UNSUPPORTED_VERSION: Final = 35
_LINGER_ZERO: Final = struct.pack("ii", 1, 0)
_REAUTHENTICATE_AT: Final = 0.8  # of the session's life


class Connection:
    """
    A connection, used by one thread; only `interrupt` may come from another.

    Args:
        host, port: of the broker.
        options: for TLS and SASL.
        client_id: what the broker shows as our name.
    """

    def __init__(self, host: str, port: int, options: KafkaOptions, client_id: str) -> None:
        self.address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self._host, self._port = host, port
        self._options = options
        self._protocol = KafkaProtocol(
            client_id=client_id, receive_message_max_bytes=_MOST_BYTES_RECEIVED, ident=self.address
        )
        self._socket: socket.socket | None = None
        self._versions: BrokerVersionData | None = None
        self._interrupted = False
        self._reauthenticate_at = float("inf")

    def open(self, timeout: float) -> None:
        """
        Connect, agree on TLS, versions and identity.

        Args:
            timeout: seconds for all of it, the resolution of the name excepted.
        Raises:
            SinkUnavailable: one sentence says what failed.
        """
        deadline = time.monotonic() + timeout
        self._dial(deadline)
        if self._options.tls is not None:
            self._start_tls(self._options.tls, deadline)
        self._agree_on_versions(deadline)
        if self._options.sasl is not None:
            self._authenticate(self._options.sasl, deadline)

    def call(self, request: Any, timeout: float) -> Any:
        """Send one request and return its answer; raises SinkUnavailable when the connection is lost."""
        deadline = time.monotonic() + timeout
        self.send(request, deadline)
        return self.receive(deadline)

    def send(self, request: Any, deadline: float) -> None:
        """
        Send one request of kafka-python's ``protocol``.

        Args:
            deadline: of the monotonic clock, seconds.
        Raises:
            SinkUnavailable: the connection was lost or interrupted.
        """
        if request.API_VERSION is None and self._versions is not None:
            try:
                request.API_VERSION = self._versions.api_version(request)
            except IncompatibleBrokerVersion as error:
                raise SinkMisconfigured(
                    f"Kafka at {self.address} is too old or too new for kafka-python: {error}",
                    "use a Kafka broker of version 2.1 or newer, or client: confluent",
                    reason="other",
                ) from None
        self._protocol.send_request(request)
        try:
            self._ready(deadline).sendall(self._protocol.send_bytes())
        except OSError as error:
            raise self._lost(error) from error

    def receive(self, deadline: float) -> Any:
        """The answer to the oldest request that has none yet; raises SinkUnavailable as `send` does."""
        while True:
            try:
                data = self._ready(deadline).recv(65536)
            except OSError as error:
                raise self._lost(error) from error
            if not data:
                raise self._lost(None)
            try:
                answers = self._protocol.receive_bytes(data)
            except KafkaError as error:
                raise SinkUnavailable(
                    f"Kafka at {self.address} sent what is no Kafka answer ({type(error).__name__})",
                    "is this the port of a Kafka listener, with TLS as configured?",
                ) from None
            if answers:
                (_, answer), *_ = answers
                return answer

    def is_stale(self) -> bool:
        """True when an idle connection cannot be used any more: the broker closed it, or spoke unasked."""
        if self._socket is None:
            return True
        self._socket.settimeout(0)
        try:
            # A TLS broker may have sent session tickets: reading finds no data of ours in them.
            return self._socket.recv(1) is not None
        except (BlockingIOError, ssl.SSLWantReadError):
            return False
        except OSError:
            return True

    def renew_identity(self) -> None:
        """Authenticate again where the broker limits the life of a session and its end is near."""
        if self._options.sasl is not None and time.monotonic() >= self._reauthenticate_at:
            self._authenticate(self._options.sasl, time.monotonic() + self._options.connect_timeout)

    def interrupt(self) -> None:
        """From any thread: whatever waits here raises SinkUnavailable at once, and nothing more is sent."""
        self._interrupted = True
        if (open_socket := self._socket) is not None:
            # Not its own method: that of a TLS socket forgets its state while the other thread is in it.
            with contextlib.suppress(OSError):
                socket.socket.shutdown(open_socket, socket.SHUT_RDWR)

    def abort(self) -> None:
        """Close, and let the kernel throw away what it has not sent: it must not arrive later. Idempotent."""
        open_socket, self._socket = self._socket, None
        if open_socket is not None:
            with contextlib.suppress(OSError):
                open_socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)
            open_socket.close()

    def _dial(self, deadline: float) -> None:
        try:
            found = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            raise SinkUnavailable(
                f"the name of the Kafka broker {self.address} cannot be resolved",
                "check bootstrap_servers and the name service",
            ) from None
        last: OSError | None = None
        for family, kind, protocol, _, place in found:
            self._socket = socket.socket(family, kind, protocol)
            try:
                self._ready(deadline).connect(place)
                self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
                return
            except OSError as error:
                last = error
                self.abort()
        raise self._unreachable(last) from last

    def _unreachable(self, error: OSError | None) -> SinkUnavailable:
        if isinstance(error, TimeoutError):
            hint = "check host, port and firewall"
            return SinkUnavailable(f"Kafka at {self.address} does not answer", hint, reason="timeout")
        if isinstance(error, ConnectionRefusedError):
            hint = "is the broker running, and is the port right?"
            return SinkUnavailable(f"Kafka at {self.address} refuses the connection", hint)
        why = (error.strerror if error else "") or "no address"
        return SinkUnavailable(f"Kafka at {self.address} cannot be reached: {why}", "check bootstrap_servers")

    def _start_tls(self, tls: Tls, deadline: float) -> None:
        context = _tls_context(tls)
        plain = self._ready(deadline)
        try:
            self._socket = context.wrap_socket(plain, server_hostname=self._host)
        except ssl.SSLCertVerificationError as error:
            raise SinkMisconfigured(
                f"the certificate of Kafka at {self.address} is not trusted: {error.verify_message}",
                "set tls.ca_file to its authority, and use a host name that stands in the certificate",
            ) from None
        except (ssl.SSLError, ConnectionError) as error:
            why = getattr(error, "reason", None) or type(error).__name__
            raise SinkMisconfigured(
                f"no TLS with Kafka at {self.address}: {why}",
                "does this port speak TLS, and does it ask for tls.cert_file?",
            ) from None
        except OSError as error:
            raise self._lost(error) from error

    def _agree_on_versions(self, deadline: float) -> None:
        version = ApiVersionsRequest.max_version
        while True:
            request = ApiVersionsRequest(
                version=version, client_software_name="inotify-bridge", client_software_version="1"
            )
            answer = self._greet(request, deadline)
            if answer.error_code != _UNSUPPORTED_VERSION:
                break
            known = [key.max_version for key in answer.api_keys if key.api_key == answer.API_KEY]
            version = min(version - 1, *known) if known else 0
        if answer.error_code:
            raise broker_error(answer.error_code, for_code(answer.error_code).__name__, "")
        supported = {key.api_key: (key.min_version, key.max_version) for key in answer.api_keys}
        self._versions = BrokerVersionData(api_versions=supported)

    def _greet(self, request: Any, deadline: float) -> Any:
        """The first exchange: where it fails, most often the two sides disagree on TLS or SASL."""
        try:
            self.send(request, deadline)
            return self.receive(deadline)
        except SinkUnavailable as error:
            if self._interrupted or error.reason == "timeout" or error.hint:
                raise
            raise SinkUnavailable(
                f"Kafka at {self.address} closed the connection at the first request",
                "does this port want tls or sasl, or is it no Kafka listener?",
            ) from None

    def _authenticate(self, sasl: Sasl, deadline: float) -> None:
        self._sasl_call(SaslHandshakeRequest(mechanism=sasl.mechanism, version=1), deadline)
        mechanism = get_sasl_mechanism(sasl.mechanism)(
            host=self._host,
            sasl_mechanism=sasl.mechanism,
            sasl_plain_username=sasl.username,
            sasl_plain_password=sasl.secret(),
        )
        lifetime = 0
        while not mechanism.is_done():
            request = SaslAuthenticateRequest(auth_bytes=mechanism.auth_bytes())
            answer = self._sasl_call(request, deadline)
            lifetime = getattr(answer, "session_lifetime_ms", 0) or 0
            try:
                mechanism.receive(answer.auth_bytes)
            except (ValueError, KeyError):
                raise broker_error(
                    58, "", "", "its answer does not prove that it knows the password"
                ) from None
        if not mechanism.is_authenticated():
            raise broker_error(58, "", "")
        self._reauthenticate_at = (
            time.monotonic() + lifetime / 1000 * _REAUTHENTICATE_AT if lifetime else float("inf")
        )

    def _sasl_call(self, request: Any, deadline: float) -> Any:
        try:
            self.send(request, deadline)
            answer = self.receive(deadline)
        except SinkUnavailable as error:
            if self._interrupted or error.reason == "timeout":
                raise
            raise SinkUnavailable(
                f"Kafka at {self.address} closed the connection during the SASL exchange",
                "does this port want tls, and does it take this sasl.mechanism?",
                reason="auth",
            ) from None
        if answer.error_code:
            raise broker_error(answer.error_code, for_code(answer.error_code).__name__, "", self.address)
        return answer

    def _ready(self, deadline: float) -> socket.socket:
        """The socket, set to wait no longer than until the deadline."""
        if self._interrupted or self._socket is None:
            raise OSError("closed")
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._socket.settimeout(left)
        return self._socket

    def _lost(self, error: OSError | None) -> SinkUnavailable:
        if self._interrupted:
            return SinkUnavailable("the connection to Kafka was closed on our side")
        if isinstance(error, TimeoutError):
            return SinkUnavailable(f"Kafka at {self.address} does not answer", reason="timeout")
        why = f": {error.strerror}" if error is not None and error.strerror else ""
        return SinkUnavailable(f"the connection to Kafka at {self.address} was lost{why}")


def _tls_context(tls: Tls) -> ssl.SSLContext:
    """Made anew at each connect, so that renewed certificates are taken."""
    try:
        context = ssl.create_default_context(cafile=tls.ca_file)
        if tls.cert_file:
            # Without a password an encrypted key would make OpenSSL ask on the terminal.
            context.load_cert_chain(tls.cert_file, tls.key_file, password="")
    except (OSError, ssl.SSLError) as error:
        files = ", ".join(str(file) for file in (tls.ca_file, tls.cert_file, tls.key_file) if file)
        why = getattr(error, "strerror", None) or type(error).__name__
        raise SinkMisconfigured(
            f"cannot use the TLS files {files}: {why}", "give readable PEM files"
        ) from None
    if tls.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
