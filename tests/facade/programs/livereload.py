"""
livereload 2.7.1 (PyPI) on Tornado: a server that tells a browser over a WebSocket which file has changed.

Takes `TornadoAsyncNotifier` where pyinotify has one, and then polls nothing: only an event makes it look.
"""

from __future__ import annotations

import json
import socket
from contextlib import AbstractContextManager
from pathlib import Path

from tests.facade.programs.place import Place, says
from tests.waiting import eventually

_BROWSER = """
import asyncio, json, sys
from tornado.websocket import websocket_connect
async def main():
    connection = await websocket_connect(sys.argv[1])
    hello = {"command": "hello", "protocols": ["http://livereload.com/protocols/official-7"]}
    await connection.write_message(json.dumps(hello))
    await connection.write_message(json.dumps({"command": "info", "url": "http://127.0.0.1/"}))
    while (message := await connection.read_message()) is not None:
        print(message, flush=True)
asyncio.run(main())
"""
_WATCHER = "from livereload.watcher import get_watcher_class; print(get_watcher_class().__name__)"


def run(place: Place, scratch: Path) -> list[str]:
    """A page is changed, then a file of a directory that is made meanwhile."""
    place.install("livereload==2.7.1")
    assert place.run("-c", _WATCHER) == "INotifyWatcher\n"
    site, said, heard = scratch / "site", scratch / "livereload.log", scratch / "browser.log"
    (site / "old").mkdir(parents=True)
    page = site / "index.html"
    page.write_text("one")
    port = _free_port()
    server: list[str | Path] = [place.python.parent / "livereload", "--port", str(port), "--debug", site]
    with place.running(said, *server), _browser(place, heard, port):
        says(heard, '"hello"', "the server's greeting")
        says(said, "Start watching changes", "the watcher")
        _changed_until_told(page, heard)
        (site / "new").mkdir()
        _changed_until_told(site / "new" / "style.css", heard)
    told = [json.loads(line) for line in heard.read_text().splitlines() if '"reload"' in line]
    return ["watcher: INotifyWatcher", *sorted({one["path"].replace(str(site), "") for one in told})]


def _browser(place: Place, heard: Path, port: int) -> AbstractContextManager[object]:
    """What a page's script does: say hello, and take orders."""

    def listening() -> bool:
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", port)) == 0

    eventually(listening, within=60, what="the server")
    return place.running(heard, "-c", _BROWSER, f"ws://127.0.0.1:{port}/livereload")


def _changed_until_told(file: Path, heard: Path) -> None:
    """Again and again: the server says nothing for three seconds after it has said something."""

    def told() -> bool:
        file.write_text(file.read_text() + "." if file.exists() else ".")
        return str(file) in heard.read_text()

    eventually(told, within=60, what=f"the reload of {file.name}", poll=0.3)


def _free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        port: int = server.getsockname()[1]
        return port
