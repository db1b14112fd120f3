"""The peer: rsyslog's imfile on the same logs, into PostgreSQL by ompgsql, or into a file."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.rotation.places import TablePlace
from tests.rotation.usage import cpu_seconds
from tests.sinks.sql_harness import PostgresqlHarness
from tests.waiting import eventually

PROGRAM: Final = shutil.which("rsyslogd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")

_MODULE: Final = """\
global(workDirectory="{directory}/work" maxMessageSize="1m")
main_queue(queue.workerThreads="1")
module(load="imfile")
{module}
ruleset(name="lines") {{ {action} }}
input(type="imfile" file="{log}" tag="app" ruleset="lines" reopenOnTruncate="on" freshStartTail="off"
      persistStateInterval="{persist}")
"""
_INTO_A_FILE: Final = 'action(type="omfile" file="{directory}/out" template="text")'
_INTO_A_TABLE: Final = (
    'action(type="ompgsql" server="127.0.0.1" port="{port}" user="{user}" pass="{password}" db="postgres"'
    ' template="text" queue.type="LinkedList" queue.filename="rows" queue.saveOnShutdown="on"'
    ' action.resumeRetryCount="-1")'
)
_TEXT: Final = 'template(name="text" type="string" string="%msg%\\n")'
_INSERT: Final = (
    'module(load="ompgsql")\n'
    'template(name="text" type="string" option.stdsql="on"'
    " string=\"INSERT INTO {table} (body) VALUES ('%msg%')\")"
)


class Rsyslog:
    """
    One rsyslogd, which can be killed and started again.

    It writes down how far it has read every 1,000 lines: by default it does so only where it ends in order,
    and reads everything again after a kill. One thread works on its queue: more of them mix the lines.

    Args:
        directory: for its configuration, its state and its file.
        log: what it follows.
        database: where its rows go; None: into a file.
    """

    def __init__(self, directory: Path, log: Path, database: PostgresqlHarness | None) -> None:
        self.cpu = 0.0
        self._out = directory / "out"
        self._database = database
        self._process: subprocess.Popen[bytes] | None = None
        self._config = directory / "rsyslog.conf"
        self._pid_file = directory / "pid"
        (directory / "work").mkdir(parents=True)
        module, action = _TEXT, _INTO_A_FILE.format(directory=directory)
        if database is not None:
            server = database.broker
            module = _INSERT.format(table=database.name)
            action = _INTO_A_TABLE.format(port=server.port, user=server.user, password=server.password)
        self._config.write_text(
            _MODULE.format(directory=directory, module=module, action=action, log=log, persist=1000)
        )

    def start(self) -> None:
        """Go on where it ended."""
        assert PROGRAM is not None
        self._pid_file.unlink(missing_ok=True)  # of the one that was killed
        command = [PROGRAM, "-n", "-f", str(self._config), "-i", str(self._pid_file)]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL)

    def end(self, how: signal.Signals) -> None:
        """By SIGTERM, in order, or by SIGKILL."""
        assert self._process is not None
        self.cpu += cpu_seconds(self._process.pid)
        self._process.send_signal(how)
        self._process.wait(120)

    def settle(self) -> None:
        """Wait until nothing has come for twelve seconds: its commits may take some."""
        sizes: list[int] = []

        def quiet() -> bool:
            sizes.append(self._size())
            return len(sizes) > 12 and len({*sizes[-13:]}) == 1

        eventually(quiet, within=600, what="rsyslog has nothing more", poll=1.0)

    def messages(self) -> Iterator[str]:
        """What has arrived, in its order."""
        if self._database is not None:
            yield from TablePlace(self._database).messages()
        elif self._out.exists():
            with self._out.open(errors="replace") as stream:
                yield from (line.rstrip("\n") for line in stream)

    def _size(self) -> int:
        """Of what has arrived, in rows or bytes."""
        if self._database is not None:
            return self._database.count()
        return self._out.stat().st_size if self._out.exists() else 0
