"""The status page in a real Chromium."""

from __future__ import annotations

import copy
import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from selenium.webdriver.common.keys import Keys

from inotify_bridge.web.server import WebServer
from tests.agent.conftest import Launch, launch, scratch, trees
from tests.agent.trees import Trees
from tests.brokers.ports import free_port
from tests.waiting import eventually
from tests.web.browser import WITHIN, Browser, chromium
from tests.web.conftest import ServerFactory
from tests.web.view import GivenView, finding

__all__ = ["launch", "scratch", "trees"]

pytestmark = pytest.mark.timeout(600)  # each wait has a minute or more, and most tests have several

CONTRAST = (Path(__file__).parent / "contrast.js").read_text()
OPERATIONS = Path(__file__).parents[2] / "docs" / "operations.md"


@pytest.fixture(scope="module")
def chrome() -> Iterator[Browser]:
    """One browser for all tests of this file."""
    with chromium() as browser:
        yield browser


@pytest.fixture
def browser(chrome: Browser) -> Iterator[Browser]:
    """A light window; at the end its console has said nothing, and nobody but one server was asked."""
    chrome.show()
    chrome.messages()
    yield chrome
    lost = "net::ERR_"  # of an agent that a test has stopped
    assert [message for message in chrome.messages() if lost not in message] == []
    asked = chrome.run("return performance.getEntries().map(entry => entry.name)")
    origin = chrome.run("return location.host")
    assert {urlsplit(name).netloc.rpartition("@")[2] for name in asked if "//" in name} == {origin}
    chrome.show()
    chrome.open("about:blank")


def troubled(view: GivenView) -> None:
    """A group in which everything that the page knows of is wrong."""
    group = view.figures["groups"][0]
    group["state"], group["consistent"] = "blocked", False
    group["outbox"] = {**group["outbox"], "blocked": True, "events": 1234, "bytes": 1 << 30}
    group["roots"] = [{"path": "/srv/up", "name": "up", "state": "degraded"}]
    group["uncovered_count"] = 520
    group["uncovered"] = [{"path": f"deep/{number}", "error": "ENOSPC"} for number in range(100)]
    group["logs"] = {"files": 3, "lag_bytes": 4096, "unreadable": 1}
    group["resync"]["running"] = True
    group["findings"] = [finding()]
    view.figures["findings"] = [finding("The last reload was refused", "sinks[0]: no such type")]
    away = copy.deepcopy(group["sinks"][0])
    away["name"], away["connected"], away["parked"], away["insecure"] = "lake", False, 3, True
    away["last_error"], away["error_since"] = "Connection refused", "2026-11-21T08:00:00Z"
    group["sinks"].append(away)


def test_it_needs_no_script(browser: Browser, server: WebServer, view: GivenView) -> None:
    """Without JavaScript it tells the figures and when it was made, and a link asks anew."""
    browser.show(scripts=False)
    troubled(view)
    browser.open(server.url)
    for words in (
        "Made at ",
        "2 problems",
        "The last reload was refused",
        "Connection refused",
        "2026/a.csv",
    ):
        assert words in browser.text
    assert not browser.one("#pause").is_displayed()
    view.figures["groups"][0]["sequence"] = 987654
    browser.one("noscript a").click()
    eventually(lambda: "987,654" in browser.text, within=WITHIN)


def test_it_stays_up_to_date_in_place(browser: Browser, server: WebServer, view: GivenView) -> None:
    """New figures appear by themselves; focus, scroll position and what was folded out stay."""
    troubled(view)
    browser.show(height=400)
    browser.open(server.url)
    browser.one("summary").click()
    browser.run("scrollTo(0, 700); document.querySelector('summary').focus({preventScroll: true})")
    at = browser.run("return scrollY")
    group = view.figures["groups"][0]
    group["sequence"] = 987654
    group["recent"].insert(0, {**group["recent"][0], "sequence": 43, "path": "later.csv"})
    eventually(lambda: "987,654" in browser.text and "later.csv" in browser.text, within=WITHIN)
    assert at > 0
    assert browser.run("return scrollY") == at
    assert browser.run("return document.activeElement.tagName") == "SUMMARY"
    assert browser.one("details").get_attribute("open") is not None


def test_groups_come_and_go(browser: Browser, server: WebServer, view: GivenView) -> None:
    """A group that was added or removed does not disturb another one in which somebody reads."""
    first, second = view.figures["groups"][0], copy.deepcopy(view.figures["groups"][0])
    second["name"] = "zebra"
    view.figures["groups"] = [second]
    browser.open(server.url)
    browser.run("window.kept = document.getElementById('group-zebra-name')")
    view.figures["groups"] = [first, second]
    browser.wait_for("All groups")
    same = "return window.kept === document.getElementById('group-zebra-name') && window.kept.isConnected"
    assert browser.run(same)
    view.figures["groups"] = [second]
    browser.wait_for_no("All groups")
    assert browser.run(same)


def test_problems_are_read_aloud_once(browser: Browser, server: WebServer, view: GivenView) -> None:
    """A screen reader hears of a problem when it comes and when it is over, and not at every new figure."""
    browser.open(server.url)
    view.figures["findings"] = [finding("Sink lake takes no messages", "for 1 s")]
    browser.wait_for("Do: ask inotify-bridge doctor")
    said = browser.one("#said")
    assert said.get_attribute("role") == "status"
    assert said.get_attribute("textContent") == "New problem: Sink lake takes no messages."
    browser.run("document.getElementById('said').textContent = ''")
    view.figures["findings"] = [finding("Sink lake takes no messages", "for 7 s")]
    browser.wait_for("for 7 s")
    assert said.get_attribute("textContent") == ""
    view.figures["findings"] = []
    browser.wait_for("No problems")
    assert said.get_attribute("textContent") == "Over: Sink lake takes no messages."
    assert browser.driver.title == "OK · inotify-bridge"


def test_it_can_be_paused(browser: Browser, server: WebServer, view: GivenView) -> None:
    """Paused, it asks nothing more, and says so; then it goes on at once."""
    browser.open(server.url)
    browser.run(
        "const ask = window.fetch; window.asked = 0;"
        "window.fetch = (...what) => { window.asked += 1; return ask(...what); }"
    )
    browser.look()
    assert browser.run("return window.asked") > 0
    browser.one("#pause").click()
    eventually(lambda: "paused" in browser.text, within=WITHIN)
    view.figures["groups"][0]["sequence"] = 987654
    asked = browser.run("return window.asked")
    browser.look()
    assert browser.run("return window.asked") == asked
    assert "987,654" not in browser.text
    browser.one("#pause").click()
    eventually(lambda: "987,654" in browser.text, within=WITHIN)
    assert "paused" not in browser.text


HOLD = """
const ask = window.fetch;
window.answers = [];
window.fetch = async (...what) => {
  const answer = await ask(...what);
  const text = await answer.text();
  await new Promise((go) => window.answers.push({go, text}));
  return {status: answer.status, ok: answer.ok, text: async () => text};
};
"""
LET_GO = """
const chosen = window.answers.filter((answer) => answer.text.includes('987,654') === arguments[0]);
window.answers = window.answers.filter((answer) => !chosen.includes(answer));
chosen.forEach((answer) => answer.go());
return chosen.length;
"""


def test_an_answer_that_comes_late_changes_nothing(
    browser: Browser, server: WebServer, view: GivenView
) -> None:
    """Where an earlier look is answered after a later one, the figures of the later one stay."""
    browser.open(server.url)
    browser.run(HOLD)
    browser.look()
    eventually(lambda: browser.run("return window.answers.length"), within=WITHIN, what="the first answer")
    view.figures["groups"][0]["sequence"] = 987654
    browser.look()
    eventually(lambda: browser.run(LET_GO, True), within=WITHIN, what="the second answer")
    assert "987,654" in browser.text
    assert browser.run(LET_GO, False)
    assert "987,654" in browser.text


HOSTILE = "<script>window.hit=1</script><img src=x onerror=window.hit=2>\"'`&lt;\u202e</td></table>"


def test_hostile_names_are_inert(browser: Browser, server: WebServer, view: GivenView) -> None:
    """Markup in names and errors is text, when the page is loaded and when it is brought up to date."""
    for path in ("first", "second"):
        group = view.figures["groups"][0]
        event, root, sink = group["recent"][0], group["roots"][0], group["sinks"][0]
        event["path"], event["moved_from"] = f"{path} {HOSTILE}", HOSTILE
        root["path"] = root["name"] = sink["name"] = HOSTILE
        sink["last_error"] = sink["error_since"] = HOSTILE
        group["findings"] = [finding(HOSTILE, HOSTILE)]
        if path == "first":
            browser.open(server.url)
        browser.wait_for(f"{path} <script>window.hit=1</script>")
        assert browser.run("return [window.hit, document.images.length, document.scripts.length]") == [
            None,
            0,
            1,
        ]
        assert "\\u202e" in browser.text
        assert "\u202e" not in browser.text


def test_long_and_many_names_stay_within_a_phone(
    browser: Browser, server: WebServer, view: GivenView
) -> None:
    """50 groups with 10 sinks and paths of 4,096 bytes need no scrolling to the side, at 320 pixels."""
    view.figures["groups"] = [
        copy.deepcopy(view.figures["groups"][0]) | {"name": f"{number:02}" * 20} for number in range(50)
    ]
    for other in view.figures["groups"]:
        other["sinks"] = [{**other["sinks"][0], "name": f"{number}" * 40} for number in range(10)]
    troubled(view)
    path = "/".join(["d" * 255] * 16)
    group = view.figures["groups"][0]
    group["roots"][0]["path"] = group["recent"][0]["path"] = path
    group["uncovered"] = [{"path": f"{path[:4090]}{number}", "error": "ENOSPC"} for number in range(100)]
    group["sinks"] = [
        {**group["sinks"][-1], "name": f"{number}" * 40, "last_error": path} for number in range(10)
    ]
    group["findings"] = [finding("x" * 300, path)]
    for width in (320, 1280):
        browser.show(width=width)
        browser.open(server.url)
        assert browser.run("return document.documentElement.scrollWidth") <= width
        assert "characters…" in browser.text


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_stands_out(browser: Browser, server: WebServer, view: GivenView, scheme: str) -> None:
    """All text has a contrast of 4.5 at least, in both schemes, and they differ."""
    troubled(view)
    view.figures["groups"].append(
        copy.deepcopy(view.figures["groups"][0]) | {"name": "z", "state": "starting"}
    )
    browser.show(scheme=scheme)
    browser.open(server.url)
    browser.run("document.getElementById('reach').textContent = 'The agent does not answer'")
    measured, poor = browser.run(CONTRAST)
    assert measured > 100
    assert poor == []
    dark = browser.run("return getComputedStyle(document.body).backgroundColor") != "rgb(246, 248, 250)"
    assert dark == (scheme == "dark")


def test_the_keyboard_reaches_everything(browser: Browser, server: WebServer, view: GivenView) -> None:
    """Tab goes through all that can be used, in its order, each time with a visible ring; the first skips."""
    troubled(view)
    view.figures["groups"].append(copy.deepcopy(view.figures["groups"][0]) | {"name": "z"})
    browser.open(server.url)
    wanted = browser.run(
        "return [...document.querySelectorAll('a, button, summary')].map(e => e.textContent)"
    )
    wanted = [words for words in wanted if words != "Look again"]
    reached = []
    for _ in wanted:
        browser.driver.switch_to.active_element.send_keys(Keys.TAB)
        words, ring = browser.run(
            "const e = document.activeElement; return [e.textContent, getComputedStyle(e).outlineStyle]"
        )
        assert ring == "solid"
        reached.append(words)
    assert reached == wanted
    assert wanted[0] == "To the figures"
    browser.one(".skip").send_keys(Keys.ENTER)
    assert browser.run("return document.activeElement.id") == "main"


def test_it_is_built_for_screen_readers(browser: Browser, server: WebServer, view: GivenView) -> None:
    """Landmarks, headings in order without a gap, named tables that are tables on a phone as well."""
    troubled(view)
    view.figures["groups"].append(copy.deepcopy(view.figures["groups"][0]) | {"name": "z"})
    browser.show(width=360)
    browser.open(server.url)
    count = "return document.querySelectorAll(arguments[0]).length"
    assert [browser.run(count, tag) for tag in ("header", "main", "footer", "nav", "h1")] == [1, 1, 1, 1, 1]
    levels = browser.run("return [...document.querySelectorAll('h1, h2, h3')].map(e => +e.tagName[1])")
    assert all(later - earlier <= 1 for earlier, later in itertools.pairwise(levels))
    assert browser.run(count, "table") == browser.run(count, "table > caption") == 9
    assert browser.run(count, "table:not([role]), tr:not([role]), td:not([role]), th:not([role][scope])") == 0
    ids = browser.run("return [...document.querySelectorAll('[id]')].map(e => e.id)")
    assert len(ids) == len(set(ids))


def test_the_token_is_a_password(browser: Browser, serve: ServerFactory, view: GivenView) -> None:
    """Where it listens for other hosts a browser asks for the token, and the page is brought up to date."""
    server = serve("0.0.0.0:0", token="secret")
    browser.open(f"http://any:secret@127.0.0.1:{server.port}/")
    view.figures["groups"][0]["sequence"] = 987654
    browser.wait_for("987,654")


def test_nothing_is_called_well_that_is_not_known(browser: Browser, server: WebServer) -> None:
    """When there is no answer any more the page does not go on to say that there are no problems."""
    browser.open(server.url)
    assert "No problems" in browser.text
    server.stop()
    browser.wait_for("The agent does not answer since ")
    assert "No problems" not in browser.text
    assert "uploads" in browser.text


def test_an_agent_that_has_gone(browser: Browser, launch: Launch, trees: Trees, scratch: Path) -> None:
    """
    With a real agent: a sink that is away is shown with what to do; when the agent has ended the page says
    that, how old its figures are, and when it answers again.
    """
    url = f"amqp://guest:guest@127.0.0.1:{free_port()}"
    sinks = [{"name": "orders", "type": "rabbitmq", "url": url}]
    (trees.root / "a.log").write_text("a line\n")
    lines = {"files": ["*.log"], "start_at": "beginning"}
    listen = f"127.0.0.1:{free_port()}"
    agent = launch(sinks, {"lines": lines}, http={"listen": listen}, shutdown_timeout="1s").start()
    trees.files("some", 3)
    browser.open(f"http://{listen}")
    for words in (
        "Sink orders takes no messages",
        "Connection refused",
        "not connected",
        "log.entry",
        "to their ends",
    ):
        browser.wait_for(words)
    assert "inotify-bridge test-sink orders -c FILE" in browser.text
    section = browser.run("return document.querySelector('#findings p.soft').textContent")
    assert f"## {section.split('“')[1].rstrip('”')}\n" in OPERATIONS.read_text()
    browser.run(
        "window.told = []; const said = document.getElementById('said');"
        "new MutationObserver(() => told.push(said.textContent)).observe(said, {childList: true})"
    )
    agent.kill()
    browser.wait_for("The agent does not answer since ")
    assert browser.driver.title.startswith("No answer")
    assert browser.one("#reach").get_attribute("role") == "alert"
    eventually(lambda: re.search(r"Made at .* UTC, \d+ s ago", browser.text), within=WITHIN)
    assert "Sink orders takes no messages" in browser.text
    agent.start()
    browser.wait_for_no("does not answer")
    assert any("The agent answers again." in words for words in browser.run("return told"))
