"""
fail2ban 1.1.0 (Debian 13): its pyinotify backend bans who fails to log in, also after a log's rotation.

It drives `Notifier` from its own thread: check_events, read_events, process_events; sets `pyinotify.log`;
watches files and their directories, and adds watches anew from its callback.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from tests import debian
from tests.facade.programs.place import Place, Unavailable, says
from tests.waiting import eventually

_JAIL = """
[DEFAULT]
backend = pyinotify
[door]
enabled = true
filter = door
logpath = {log}
maxretry = 2
findtime = 600
bantime = 600
banaction = note
action = note
ignoreself = false
"""
_FILTER = "[Definition]\nfailregex = ^door: refused <HOST>$\ndatepattern = {NONE}\n"
_ACTION = "[Definition]\nactionban = echo <ip> >> {banned}\nactionunban =\n"
_MAIN = "[Definition]\nloglevel = DEBUG\nlogtarget = STDOUT\nsyslogsocket = auto\ndbfile = None\n"


def run(place: Place, scratch: Path) -> list[str]:
    """Two hosts are banned, the second after the log was rotated."""
    try:
        debian.unpack(scratch / "debian", "trixie", ["fail2ban"])
    except debian.Unavailable as error:
        raise Unavailable(str(error)) from error
    log, banned, said = scratch / "door.log", scratch / "banned", scratch / "fail2ban.log"
    log.touch()
    configured = _configured(scratch, log, banned)
    root = scratch / "debian" / "usr"
    ways = {"PYTHONPATH": str(root / "lib/python3/dist-packages")}
    options: list[str | Path] = ["-c", configured, "-s", scratch / "socket", "-p", scratch / "pid"]
    server_program, client_program = root / "bin" / "fail2ban-server", root / "bin" / "fail2ban-client"
    with place.running(said, server_program, *options, "-f", "start", environment=ways) as server:
        says(said, "Jail 'door' started", "the jail")
        _refuse(log, "192.0.2.1")
        says(banned, "192.0.2.1", "the first ban")
        log.rename(scratch / "door.log.1")
        log.touch()
        _refuse(log, "192.0.2.2")
        says(banned, "192.0.2.2", "the ban after the rotation")
        client = place.run(client_program, *options, "status", "door", environment=ways)
        place.run(client_program, *options, "stop", environment=ways)
        eventually(lambda: server.poll() is not None, what="the server's end")
    text = said.read_text()
    assert "Initiated 'pyinotify' backend" in text
    assert "Traceback" not in text
    assert server.returncode == 0
    return [
        "backend: pyinotify",
        "banned: " + " ".join(banned.read_text().split()),
        *client.splitlines()[-1:],
    ]


def _configured(scratch: Path, log: Path, banned: Path) -> Path:
    """Debian's own configuration with one jail."""
    target = scratch / "fail2ban"
    shutil.copytree(scratch / "debian" / "etc" / "fail2ban", target)
    for name in ("jail.d", "fail2ban.d"):
        shutil.rmtree(target / name)
    (target / "jail.local").write_text(_JAIL.format(log=log))
    (target / "fail2ban.local").write_text(_MAIN)
    (target / "filter.d" / "door.conf").write_text(_FILTER)
    (target / "action.d" / "note.conf").write_text(_ACTION.format(banned=banned))
    return target


def _refuse(log: Path, address: str) -> None:
    for _ in range(3):
        with log.open("a") as file:
            file.write(f"door: refused {address}\n")
