"""``python -m benchmarks``: everything in a short form; ``python -m benchmarks NAME``: one thing in full."""

from __future__ import annotations

import click

from benchmarks import (
    burst,
    endtoend,
    facade,
    frozen,
    idle,
    kafka,
    latency,
    lines,
    percall,
    rabbitmq,
    setup,
    sql,
    throughput,
)
from benchmarks.report import machine


@click.group(invoke_without_command=True)
@click.pass_context
def main(context: click.Context) -> None:
    """Measure. Without a command: everything in a short form."""
    if context.invoked_subcommand is not None:
        return
    machine()
    burst.run(33_334, kafka=True)
    percall.run(8)
    latency.run(latency.Load(rate=1000, seconds=5))
    throughput.run(20_000)
    setup.run(10_000, 100_000)
    sql.run(10_000, 1)
    lines.run(50_000)
    idle.run(10)
    facade.run(5, 33_334)
    for broker in ("rabbitmq", "kafka"):
        endtoend.run(endtoend.Campaign(events=20_000, outage=0), broker)


for name, command in {
    "burst": burst.main,
    "endtoend": endtoend.main,
    "facade": facade.main,
    "frozen": frozen.main,
    "idle": idle.main,
    "kafka": kafka.main,
    "latency": latency.main,
    "lines": lines.main,
    "percall": percall.main,
    "rabbitmq": rabbitmq.main,
    "setup": setup.main,
    "sql": sql.main,
    "throughput": throughput.main,
}.items():
    main.add_command(command, name)


if __name__ == "__main__":
    main(prog_name="python -m benchmarks")
