"""The broker of the cluster's tests: a real one on this machine, outside the cluster as most brokers are."""

from __future__ import annotations

from typing import Any

from tests.agent.places import RabbitmqPlace
from tests.brokers import RabbitmqBroker
from tests.brokers.ports import free_port
from tests.cluster.cluster import HOST_ADDRESS

USER, PASSWORD = "bridge", "outside"
SECRET = "orders"


class OutsideBroker(RabbitmqBroker):
    """A RabbitMQ that listens where pods reach it, too; the cluster's network has to be there."""

    def __init__(self) -> None:
        self.pods_port = free_port()
        settings = {"listeners.tcp.2": f"{HOST_ADDRESS}:{self.pods_port}"}
        super().__init__(user=USER, password=PASSWORD, settings=settings)


class OutsidePlace(RabbitmqPlace):
    """A queue on it; the password comes from a Secret."""

    broker: OutsideBroker

    def sink(self, name: str = "sink", **options: Any) -> dict[str, Any]:
        url = f"amqp://{USER}@{HOST_ADDRESS}:{self.broker.pods_port}/%2F"
        password = {"password_file": f"/run/secrets/{SECRET}/password"}
        return super().sink(name, url=url, **password, **options)


def secret() -> dict[str, Any]:
    """The Secret with the password, as a manifest."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": SECRET},
        "stringData": {"password": PASSWORD},
    }
