"""What pika and RabbitMQ say when something fails, as the errors of a sink: mapped here and nowhere else."""

from __future__ import annotations

import re
import socket
import ssl
from typing import Final

from pika import exceptions as pika_errors

from inotify_bridge.errors import SinkMisconfigured, SinkUnavailable
from inotify_bridge.sinks.rabbitmq_options import RabbitmqOptions

_CONNECTION_FORCED: Final = 320
_ACCESS_REFUSED: Final = 403
_NOT_FOUND: Final = 404
_PRECONDITION_FAILED: Final = 406
_COMMAND_INVALID: Final = 503
_TOO_LARGE = re.compile(
    r"message size \d+ (?:is )?larger than (?:the )?(?:configured )?max(?:imum)? size (\d+)"
)


def connect_failed(error: BaseException, options: RabbitmqOptions) -> SinkUnavailable:
    """The error for a connection that did not open."""
    cause = _innermost(error)
    mapped = _tls_failed(cause, options) or _refused(cause, options) or _unreachable(cause, options)
    return mapped or SinkUnavailable(f"{options.place}: cannot connect: {cause!r}", reason="connection")


def connection_lost(error: BaseException, options: RabbitmqOptions, blocked: str = "") -> SinkUnavailable:
    """
    The error for a connection that was open.

    Args:
        blocked: why the broker blocks publishers just now; empty: it does not.
    """
    place = options.place
    if isinstance(error, pika_errors.ConnectionBlockedTimeout):
        return SinkUnavailable(
            f"{place}: publishers blocked for {options.blocked_connection_timeout:g} s: {blocked}",
            "free memory or disk space on the broker",
            "timeout",
        )
    if isinstance(error, pika_errors.AMQPHeartbeatTimeout):
        return SinkUnavailable(
            f"{place}: the broker has fallen silent (heartbeat {options.heartbeat:g} s)", reason="timeout"
        )
    if isinstance(error, pika_errors.ConnectionClosedByBroker):
        return _closed_by_broker(error, options)
    return SinkUnavailable(f"{place}: connection lost: {_words(error)}")


def channel_refused(error: pika_errors.ChannelClosedByBroker, options: RabbitmqOptions) -> SinkUnavailable:
    """The error for a channel that the broker closed: the answer to a declaration or to a message."""
    message = f"{options.place}: {error.reply_text}"
    if error.reply_code == _NOT_FOUND:
        return SinkMisconfigured(
            message, f"make exchange '{options.exchange}', or set declare_exchange: true", "not_found"
        )
    if error.reply_code == _ACCESS_REFUSED:
        hint = f"give user '{options.username}' the permissions to configure, write and read there"
        return SinkMisconfigured(message, hint, "authorization")
    if error.reply_code == _PRECONDITION_FAILED:
        hint = "it exists with other properties: adapt exchange_type, queue_type or the names, or delete it"
        return SinkMisconfigured(message, hint, "other")
    return SinkUnavailable(message, reason="other")


def message_size_limit(error: BaseException) -> int:
    """Bytes of the largest body that the broker takes, if it closed the channel over a larger one; else 0."""
    if not isinstance(error, pika_errors.ChannelClosedByBroker) or error.reply_code != _PRECONDITION_FAILED:
        return 0
    found = _TOO_LARGE.search(error.reply_text)
    return int(found[1]) if found else 0


def _innermost(error: BaseException) -> BaseException:
    """pika wraps up to three times: AMQPConnectionError, …WorkflowFailed, …ConnectorPhaseError."""
    while True:
        wrapped = getattr(error, "exception", None) or (getattr(error, "exceptions", None) or [None])[-1]
        if wrapped is None and error.args and isinstance(error.args[0], BaseException):
            wrapped = error.args[0]
        if wrapped is None:
            return error
        error = wrapped


def _tls_failed(cause: BaseException, options: RabbitmqOptions) -> SinkUnavailable | None:
    if isinstance(cause, ssl.SSLCertVerificationError):
        return SinkMisconfigured(
            f"{options.place}: the broker's certificate is not accepted: {cause.verify_message}",
            "write the host as the certificate names it; trust its authority by tls.ca_file",
            "auth",
        )
    if isinstance(cause, ssl.SSLError):
        hint = "is that the broker's TLS port, and does it want a client certificate (tls.cert_file)?"
        return SinkMisconfigured(f"{options.place}: TLS failed: {cause.reason or cause}", hint, "connection")
    return None


def _refused(cause: BaseException, options: RabbitmqOptions) -> SinkUnavailable | None:
    if isinstance(cause, pika_errors.ProbableAuthenticationError):
        return SinkMisconfigured(
            f"{options.place}: wrong user name or password for user '{options.username}'",
            "check username and password_file",
            "auth",
        )
    if isinstance(cause, pika_errors.ProbableAccessDeniedError):
        return _vhost_refused(str(cause), options)
    if isinstance(cause, pika_errors.IncompatibleProtocolError):
        hint = "is that an AMQP port? TLS ports need an amqps:// url"
        return SinkUnavailable(f"{options.place}: closed before the AMQP handshake", hint, "connection")
    return None


def _vhost_refused(words: str, options: RabbitmqOptions) -> SinkUnavailable:
    if "limit" in words:
        return SinkUnavailable(
            f"{options.place}: connection limit reached", "raise the limit", "authorization"
        )
    if "not found" in words:
        return SinkMisconfigured(f"{options.place}: no such vhost", "check the path of url", "not_found")
    hint = f"give user '{options.username}' permissions on the vhost"
    return SinkMisconfigured(
        f"{options.place}: user '{options.username}' may not use the vhost", hint, "authorization"
    )


def _unreachable(cause: BaseException, options: RabbitmqOptions) -> SinkUnavailable | None:
    if isinstance(cause, socket.gaierror):
        return SinkUnavailable(
            f"{options.place}: host name cannot be resolved: {cause.strerror}", "check url"
        )
    if isinstance(cause, TimeoutError) or "imeout" in f"{type(cause).__name__} {cause}":
        return no_answer(options)
    if isinstance(cause, OSError):
        hint = "is the broker running, are host and port right?"
        return SinkUnavailable(f"{options.place}: {cause.strerror or cause}", hint)
    return None


def no_answer(options: RabbitmqOptions) -> SinkUnavailable:
    """The error for a broker that does not answer while connecting."""
    hint = "is the broker overloaded, or a firewall in between?"
    return SinkUnavailable(
        f"{options.place}: no answer within {options.connect_timeout:g} s", hint, "timeout"
    )


def no_confirm(options: RabbitmqOptions, unconfirmed: int) -> SinkUnavailable:
    """The error for a broker that takes messages but does not confirm."""
    return SinkUnavailable(
        f"{options.place}: no confirm within {options.confirm_timeout:g} s for {unconfirmed} messages",
        "is the broker overloaded, or a majority of its quorum queue's members away?",
        "timeout",
    )


def _closed_by_broker(
    error: pika_errors.ConnectionClosedByBroker, options: RabbitmqOptions
) -> SinkUnavailable:
    message = f"{options.place}: the broker closed the connection: {error.reply_text}"
    if error.reply_code == _CONNECTION_FORCED:
        return SinkUnavailable(message)
    if error.reply_code == _COMMAND_INVALID:
        return SinkMisconfigured(message, "check exchange_type", "other")
    return SinkUnavailable(message, reason="other")


def _words(error: BaseException) -> str:
    return str(error.args[0]) if error.args else type(error).__name__
