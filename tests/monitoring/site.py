"""What is watched in these tests: one agent with every kind of trouble that can be made without harm."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from tests.agent.process import AgentProcess
from tests.brokers.ports import free_port
from tests.waiting import eventually

TOKEN: Final = "a token of this test"
# Far above a usual event and below that of a link to so long a path.
_LIMIT: Final = 2000
_TARGET: Final = "x" * 3000
_TABLE: Final = (
    "CREATE TABLE lines (source text, epoch text, sequence bigint, time text, path text, byte_offset bigint,"
    " line bigint, length bigint, message text CHECK (message NOT LIKE '%refused%'), message_b64 text,"
    " cut boolean, unfinished boolean, fields text)"
)


class Site:
    """
    A group of files for three sinks, one of logs for a database, and one where inotify does not work.

    One sink never connects and is not protected, one takes no long messages, the database refuses some rows,
    and some lines of the log are none; somebody dropped a message that was set aside, asked for a resync, and
    tried a configuration that was refused.

    Args:
        directory: for everything; in memory where there is room.
    """

    def __init__(self, directory: Path) -> None:
        self.files, self.logs = directory / "files", directory / "logs"
        for made in (self.files, self.logs, directory / "agent"):
            made.mkdir()
        with closing(sqlite3.connect(directory / "lines.db")) as database, database:
            database.execute(_TABLE)
        (directory / "token").write_text(TOKEN)
        self._rounds = 0
        self._config = self._configuration(directory)
        self.agent = AgentProcess(directory / "agent", self._config)

    def _configuration(self, directory: Path) -> dict[str, Any]:
        nobody = f"amqps://guest:guest@127.0.0.1:{free_port()}/%2F"
        lines = {"files": ["*.log"], "pattern": "logfmt", "fields": {"n": "int"}, "start_at": "beginning"}
        return {
            "http": {"listen": f"127.0.0.1:{free_port()}", "admin_token_file": str(directory / "token")},
            "state": {"dir": str(directory / "state")},
            "watch_groups": [
                {"name": "files", "paths": [str(self.files)], "sinks": ["journal", "away", "small"]},
                {"name": "blind", "paths": ["/proc/sys/fs/inotify"], "sinks": ["journal"]},
                {"name": "logs", "paths": [str(self.logs)], "sinks": ["table"], "lines": lines},
            ],
            "sinks": [
                {"name": "journal", "type": "jsonl", "path": str(directory / "journal.jsonl")},
                {"name": "away", "type": "rabbitmq", "url": nobody, "tls": {"insecure": True}},
                {"name": "small", "type": "memory", "max_message_bytes": _LIMIT},
                {
                    "name": "table",
                    "type": "sql",
                    "url": f"sqlite:///{directory}/lines.db",
                    "log_table": "lines",
                },
            ],
        }

    @property
    def target(self) -> str:
        """Where Prometheus finds it."""
        return str(self._config["http"]["listen"])

    def work(self) -> None:
        """One more round of everything that programs do."""
        self._rounds += 1
        for number in range(20):
            name = self.files / f"{self._rounds:04d}-{number}"
            name.write_text("x")
            name.rename(name.with_suffix(".done"))
        name.with_suffix(".done").unlink()
        os.chmod(self.files, 0o700 + self._rounds % 2)
        (self.files / f"directory-{self._rounds}").mkdir()
        (self.files / f"link-{self._rounds}").symlink_to(_TARGET)
        with (self.logs / "app.log").open("a") as log:
            log.writelines(f"n={number} text=taken\n" for number in range(20))
            log.write("n=1 text=refused\nn=none text=rejected\n")

    def trouble(self) -> None:
        """What happens once: operator's signals, and a configuration that is refused."""
        agent = self.agent
        eventually(lambda: agent.metric("parked_events", sink="small"), what="a message is set aside")
        assert agent.post("/-/parked?group=files&action=drop", TOKEN)[0] == 200
        assert agent.post("/-/resync?group=files", TOKEN)[0] == 202
        self.work()
        agent.file.write_text(json.dumps({**self._config, "sinks": []}))
        agent.signal(signal.SIGHUP)
        eventually(lambda: agent.metric("config_reloads_total", result="failure"), what="a reload is refused")
