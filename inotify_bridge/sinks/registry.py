"""
From the type of a sink in the configuration to its class.

A sink module, and with it the driver of its broker, is imported only when its type is used.
"""

from __future__ import annotations

import difflib
import importlib
import logging
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType
from typing import Any, Final

from inotify_bridge.errors import ConfigError, SinkUnavailable
from inotify_bridge.sinks.base import Inspectable, SinkFactory

_log = logging.getLogger(__name__)

ENTRY_POINT_GROUP: Final = "inotify_bridge.sinks"

# Known without installed metadata, so that a source tree works as it stands; no package can take these names.
_BUILT_IN: Final[dict[str, str]] = {
    "jsonl": "inotify_bridge.sinks.jsonl:JsonlSink",
    "kafka": "inotify_bridge.sinks.kafka:KafkaSink",
    "memory": "inotify_bridge.sinks.memory:MemorySink",
    "rabbitmq": "inotify_bridge.sinks.rabbitmq:RabbitmqSink",
    "sql": "inotify_bridge.sinks.sql:SqlSink",
    "stdout": "inotify_bridge.sinks.stdout:StdoutSink",
}

# Top-level module of a driver to what pip has to install for it.
_INSTALL: Final[dict[str, str]] = {
    "confluent_kafka": "'inotify-bridge[confluent]'",
    "kafka": "kafka-python",
    "pika": "pika",
    "psycopg": "'inotify-bridge[postgres]'",
    "pymysql": "PyMySQL",
    "sqlalchemy": "'inotify-bridge[sql]'",
}


def sink_types() -> list[str]:
    """The names of all types that can be configured, sorted; imports no sink."""
    return sorted({*_BUILT_IN, *(point.name for point in entry_points(group=ENTRY_POINT_GROUP))})


def sink_class(type_name: str) -> SinkFactory:
    """
    The class of a sink type.

    Raises:
        ConfigError: no such type, with the nearest name; or its driver is not installed, with the pip
            command.
    """
    point = _entry_point(type_name)
    try:
        found = point.load()
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] == "inotify_bridge":
            raise
        raise _missing(error.name, f"sink type '{type_name}'") from error
    factory: SinkFactory = found
    return factory


def inspect(type_name: str, options: Any) -> SinkUnavailable | None:
    """
    What this machine lacks for a sink, found without connecting: a directory that does not exist.

    Args:
        options: an instance of the class's ``Options``.
    Returns:
        The first such thing, with its hint; None where nothing is found, or the type cannot tell.
    Raises:
        ConfigError: as `sink_class`.
    """
    found = sink_class(type_name)
    return found.inspect(options) if isinstance(found, Inspectable) else None


def import_driver(module: str, needed_by: str) -> ModuleType:
    """
    Import a driver library that only some configurations need.

    Args:
        module: its dotted name.
        needed_by: what asks for it, for the message: ``client: confluent``.
    Raises:
        ConfigError: it is not installed; the hint is the pip command.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise _missing(module, needed_by) from error


def silence_driver(logger: str) -> None:
    """
    Let a driver library log nothing: what it would say reaches the relay as an exception of the sink.

    A level that somebody has set stays. At DEBUG some libraries show messages, and with them paths.

    Args:
        logger: name of the library's logger.
    """
    log = logging.getLogger(logger)
    if log.level == logging.NOTSET:
        log.setLevel(logging.CRITICAL)


def warn_insecure(sink: str, place: str) -> None:
    """Say in the log that a sink verifies nobody."""
    _log.warning(
        "sink %s: tls.insecure is on: the certificate of %s is not checked, "
        "anyone on the way can read and change everything",
        sink,
        place,
    )


def is_this_machine(host: str) -> bool:
    """Whether what is sent to a host stays on this machine: only then TLS protects nothing."""
    return host == "localhost" or host == "::1" or host.startswith("127.")


def _entry_point(type_name: str) -> EntryPoint:
    if type_name in _BUILT_IN:
        return EntryPoint(type_name, _BUILT_IN[type_name], ENTRY_POINT_GROUP)
    for point in entry_points(group=ENTRY_POINT_GROUP, name=type_name):
        return point
    known = sink_types()
    near = difflib.get_close_matches(type_name, known, n=1, cutoff=0.5)
    hint = f"did you mean '{near[0]}'?" if near else f"known types: {', '.join(known)}"
    raise ConfigError(f"unknown sink type '{type_name}'", hint)


def _missing(module: str, needed_by: str) -> ConfigError:
    top = module.partition(".")[0]
    return ConfigError(
        f"{needed_by} needs the Python module '{top}', which is not installed",
        f"pip install {_INSTALL.get(top, top)}",
    )
