"""Real brokers for tests and benchmarks: started and ended by the project itself, on loopback only."""

from tests.brokers.broker import Broker
from tests.brokers.errors import BrokerError, NotInstalled
from tests.brokers.kafka import KafkaBroker
from tests.brokers.mariadb import MariadbServer
from tests.brokers.postgresql import PostgresqlServer
from tests.brokers.rabbitmq import RabbitmqBroker
from tests.brokers.tls import Authority, Certificate

__all__ = [
    "Authority",
    "Broker",
    "BrokerError",
    "Certificate",
    "KafkaBroker",
    "MariadbServer",
    "NotInstalled",
    "PostgresqlServer",
    "RabbitmqBroker",
]
