"""The ground and the pace of the tests on the real kernel; brokers and agents of the tests of the whole."""

from tests.agent.conftest import kafka_place, launch, rabbitmq_place, scratch, trees
from tests.kernel.conftest import disk_ground, lagging

__all__ = ["disk_ground", "kafka_place", "lagging", "launch", "rabbitmq_place", "scratch", "trees"]
