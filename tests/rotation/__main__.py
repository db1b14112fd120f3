"""``python -m tests.rotation``: see the package."""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from tests.brokers import PostgresqlServer
from tests.rotation.places import FilePlace, Place, TablePlace
from tests.rotation.rsyslog import PROGRAM, Rsyslog
from tests.rotation.torture import LOGROTATE, MODES, Outcome, Plan, audit, run
from tests.sinks.sql_harness import PostgresqlHarness, SqliteHarness


def main() -> int:
    """0 where every line arrived once and in order, but for those that are told to be lost."""
    parser = argparse.ArgumentParser(prog="python -m tests.rotation", description=__doc__)
    parser.add_argument("--mode", choices=MODES, default="create")
    parser.add_argument("--sink", choices=("jsonl", "sqlite", "postgresql"), default="jsonl")
    parser.add_argument("--peer", action="store_true", help="rsyslog does the same beside it")
    parser.add_argument("--lines", type=int, default=2_000_000)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--writers", type=int, default=5)
    parser.add_argument("--rate", type=float, default=20_000.0, help="lines a second of all writers")
    parser.add_argument("--every", type=float, default=1.0, help="seconds between rotations")
    parser.add_argument("--down", type=float, default=1.0, help="longest time that the agent stays dead")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--directory", type=Path, help="kept; by default a temporary one")
    given = parser.parse_args()
    if LOGROTATE is None:
        sys.stderr.write("logrotate is not installed: apt-get install logrotate\n")
        return 69
    if given.peer and PROGRAM is None:
        sys.stderr.write("rsyslog is not installed: apt-get install rsyslog rsyslog-pgsql\n")
        return 69
    plan = Plan(
        given.mode, given.lines, given.kills, given.writers, given.every, given.rate, given.down, given.seed
    )
    with tempfile.TemporaryDirectory() as temporary:
        directory = given.directory or Path(temporary)
        directory.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as stack:
            server = stack.enter_context(PostgresqlServer()) if given.sink == "postgresql" else None
            place = _place(given.sink, directory, server)
            peer = None
            if given.peer:
                rows = None if server is None else PostgresqlHarness(server)
                peer = Rsyslog(directory / "rsyslog", directory / "logs" / "app.log", rows)
            sys.stdout.write(f"{plan}, into {given.sink}\n")
            sys.stdout.flush()
            outcome = run(plan, directory, place, peer)
            _show("inotify-bridge", outcome)
            if peer is not None:
                its = Outcome(cpu=peer.cpu)
                audit(outcome.lines, peer.messages(), its)
                _show("rsyslog", its)
    return int(_failed(plan, outcome))


def _failed(plan: Plan, outcome: Outcome) -> bool:
    told = outcome.lost_bytes == outcome.left_bytes
    whole = not outcome.missing or plan.mode in ("compress", "copytruncate")
    return not (told and whole) or bool(outcome.doubled or outcome.disordered or outcome.torn)


def _place(sink: str, directory: Path, server: PostgresqlServer | None) -> Place:
    if sink == "jsonl":
        return FilePlace(directory / "events.jsonl")
    return TablePlace(SqliteHarness(directory) if server is None else PostgresqlHarness(server))


def _show(title: str, outcome: Outcome) -> None:
    sys.stdout.write(f"-- {title}\n")
    for name, value in asdict(outcome).items():
        sys.stdout.write(f"{name}: {value if name != 'holes' else value[:20]}\n")


if __name__ == "__main__":
    sys.exit(main())
