"""
A real broker by hand, for trying things out and for benchmarks: ``python -m tests.brokers kafka start``.

It runs on after the command; its data stays over `stop` and `start`.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tests.brokers.broker import Broker, cache_directory
from tests.brokers.errors import BrokerError
from tests.brokers.kafka import KafkaBroker
from tests.brokers.mariadb import MariadbServer
from tests.brokers.postgresql import PostgresqlServer
from tests.brokers.rabbitmq import RabbitmqBroker

_KINDS: dict[str, tuple[type[KafkaBroker | MariadbServer | PostgresqlServer | RabbitmqBroker], int]] = {
    "kafka": (KafkaBroker, 9092),
    "mariadb": (MariadbServer, 3306),
    "postgresql": (PostgresqlServer, 5432),
    "rabbitmq": (RabbitmqBroker, 5672),
}


def main() -> int:
    """Run one command; returns the exit code: 0 done or running, 1 failed, 3 not running."""
    arguments = _parse()
    kind, port = _KINDS[arguments.kind]
    try:
        if arguments.action == "fetch":
            return _fetch(kind)
        directory = arguments.directory or cache_directory() / "brokers" / arguments.kind
        return _act(kind(directory, port=arguments.port or port), arguments.action)
    except BrokerError as error:
        sys.stderr.write(f"{error}\n")
        return 1


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.brokers", description="A real broker on 127.0.0.1."
    )
    parser.add_argument("kind", choices=sorted(_KINDS))
    parser.add_argument("action", choices=["fetch", "start", "stop", "kill", "status"])
    parser.add_argument("--port", type=int, help="for clients (default: that of the product)")
    parser.add_argument("--directory", type=Path, help="data and log (default: below the cache directory)")
    return parser.parse_args()


def _fetch(kind: type[Broker]) -> int:
    """Download what the broker needs, so that no test waits for it."""
    if missing := kind.missing():
        raise BrokerError(missing)
    if kind is KafkaBroker:
        KafkaBroker.fetch()
    return 0


def _act(broker: Broker, action: str) -> int:
    if action == "start":
        broker.start()
    elif action == "stop":
        broker.close()
    elif action == "kill":
        broker.kill()
    state = f"runs at {broker.address}, pid {broker.pid}" if broker.alive else "does not run"
    sys.stdout.write(f"{broker.product} {state}\n")
    return 3 if action == "status" and not broker.alive else 0


if __name__ == "__main__":
    sys.exit(main())
