"""
livereload 2.7.1 (PyPI) on Tornado: a server that tells a browser over a WebSocket which file has changed.

Takes `TornadoAsyncNotifier` where pyinotify has one, and polls nothing then: a change is told because of an event.
"""

from __future__ import annotations

import json
import socket
from pathlib import Path

from tests.facade.programs.place import Place, says

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
    server = ["-m", "livereload", "--port", str(port), "--debug", site]
    with place.running(said, *server), _browser(place, heard, port):
        says(heard, '"hello"', "the server's greeting")
        says(said, "Start watching changes", "the watcher")
        page.write_text("two, longer")
        says(heard, str(page), "the reload of the page")
        (site / "new").mkdir()
        (site / "new" / "style.css").write_text("body {}")
        says(heard, "style.css", "the reload of a file in a new directory")
    told = [json.loads(line) for line in heard.read_text().splitlines() if '"reload"' in line]
    return ["watcher: INotifyWatcher", *sorted({one["path"].replace(str(site), "") for one in told})]


def _browser(place: Place, heard: Path, port: int):  # type: ignore[no-untyped-def]
    from tests.waiting import eventually

    def listening() -> bool:
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", port)) == 0

    eventually(listening, within=60, what="the server")
    return place.running(heard, "-c", _BROWSER, f"ws://127.0.0.1:{port}/livereload")


def _free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        port: int = server.getsockname()[1]
        return port
