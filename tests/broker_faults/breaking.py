"""What `tests.patched` replaces in an agent: a bug right where a password is at hand."""

from __future__ import annotations

from typing import Any

from inotify_bridge.sinks import rabbitmq_connection


def connecting() -> None:
    """Sinks of RabbitMQ whose name begins with ``broken`` fail in a function that has read the password."""
    real = rabbitmq_connection._parameters

    def broken(options: Any, context: Any) -> Any:
        parameters = real(options, context)
        if context.name.startswith("broken"):
            raise RuntimeError("broken on purpose")
        return parameters

    rabbitmq_connection._parameters = broken
