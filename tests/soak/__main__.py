"""The command line: ``python -m tests.soak --minutes 30 --broker rabbitmq --seed 1``."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from pathlib import Path

from tests.soak.broker import Far, KafkaFar, RabbitmqFar
from tests.soak.campaign import Campaign, to_stderr


def far_of(broker: str, seed: int) -> Far:
    """A broker, and the client that goes with the seed."""
    return RabbitmqFar() if broker == "rabbitmq" else KafkaFar(("kafka-python", "confluent")[seed % 2])


def ground_of(seed: int) -> Path:
    """In turn in memory, and on the disk of the temporary directory, which gives numbers of inodes again."""
    return Path("/dev/shm") if seed // 2 % 2 and os.access("/dev/shm", os.W_OK) else Path("/var/tmp")


def main() -> int:
    """Returns 1 where something was wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description="A campaign of faults.")
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--broker", choices=["rabbitmq", "kafka"], default="rabbitmq")
    parser.add_argument("--seed", type=int, default=1)
    wanted = parser.parse_args()
    # SIGTERM ends it as Ctrl-C does: what was started is still ended.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with far_of(wanted.broker, wanted.seed) as far:
        campaign = Campaign(far, wanted.seed, ground_of(wanted.seed), to_stderr)
        outcome = campaign.run_for(wanted.minutes * 60)
    sys.stdout.write(outcome.table())
    if outcome.kept is not None:
        sys.stdout.write(f"the agent's log and what came last are in {outcome.kept}\n")
    return 1 if outcome.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
