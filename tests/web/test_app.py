"""What the HTTP server answers."""

from __future__ import annotations

import ast
import base64
import gzip
import hashlib
import html.parser
import logging
import re
from pathlib import Path
from typing import Any, get_args, get_type_hints, is_typeddict

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics

from inotify_bridge import findings
from inotify_bridge.web.server import WebServer
from inotify_bridge.web.view import AgentStatus, GroupStatus
from tests.web.client import ask
from tests.web.view import GivenView, finding

ALL = ["/", "/api/v1/status", "/metrics", "/livez", "/readyz", "/startupz"]


def test_the_status_is_json_as_the_view_gave_it(server: WebServer, view: GivenView) -> None:
    """`/api/v1/status` is the view's answer, whole."""
    answer = ask(server, "/api/v1/status")
    assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
    assert answer.json() == view.figures


def test_the_status_survives_a_lone_surrogate(server: WebServer, view: GivenView) -> None:
    """A word that is no Unicode text, from a driver's error, breaks neither the JSON nor the page."""
    view.figures["groups"][0]["sinks"][0]["last_error"] = "cannot open \udcff"
    assert ask(server, "/api/v1/status").json() == view.figures
    assert "cannot open \\xff" in ask(server, "/").text


@pytest.mark.parametrize(
    ("path", "attribute"), [("/livez", "not_live"), ("/readyz", "not_ready"), ("/startupz", "not_started")]
)
def test_a_probe_answers_with_its_own_problems(
    server: WebServer, view: GivenView, path: str, attribute: str
) -> None:
    """Each probe is 200 `ok` without problems, and 503 with them, one a line, whatever the others say."""
    others = {"/livez", "/readyz", "/startupz"} - {path}
    assert (ask(server, path).status, ask(server, path).text) == (200, "ok\n")
    setattr(view, attribute, ["group uploads: first\nproblem", "group logs: second"])
    answer = ask(server, path)
    assert (answer.status, answer.text) == (503, "group uploads: first problem\ngroup logs: second\n")
    assert {ask(server, other).status for other in others} == {200}


def test_metrics_are_prometheus_text_by_default(server: WebServer) -> None:
    """`/metrics` is the text format when nothing else is asked for."""
    answer = ask(server, "/metrics")
    assert answer.headers["Content-Type"].startswith("text/plain; version=")
    assert 'inotify_bridge_watches{watch_group="uploads"} 0.0\n' in answer.text


def test_metrics_are_openmetrics_where_asked_for(server: WebServer) -> None:
    """With Prometheus's Accept header `/metrics` is valid OpenMetrics."""
    accept = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"
    answer = ask(server, "/metrics", Accept=accept)
    assert answer.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    assert list(parse_openmetrics(answer.text))  # type: ignore[no-untyped-call]


def test_metrics_are_compressed_where_asked_for(server: WebServer) -> None:
    """With Accept-Encoding gzip the body is the same, compressed."""
    answer = ask(server, "/metrics", Accept_Encoding="deflate, gzip")
    assert answer.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(answer.body) == ask(server, "/metrics").body


def test_metrics_can_be_selected_by_name(server: WebServer) -> None:
    """`?name[]=` gives the named metric alone."""
    lines = ask(server, "/metrics?name[]=inotify_bridge_watches").text.splitlines()
    assert [line for line in lines if not line.startswith("#")] == [
        'inotify_bridge_watches{watch_group="uploads"} 0.0'
    ]


@pytest.mark.parametrize("path", ALL)
def test_head_is_get_without_the_body(server: WebServer, path: str) -> None:
    """HEAD has the status and the length of GET, and no body."""
    got, head = ask(server, path), ask(server, path, "HEAD")
    assert head.status == got.status == 200
    assert head.headers["Content-Length"] == str(len(got.body))
    assert head.body == b""


@pytest.mark.parametrize("path", ALL)
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_other_methods_are_refused(server: WebServer, path: str, method: str) -> None:
    """Any other method is 405 and names those allowed."""
    answer = ask(server, path, method)
    assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD")
    assert answer.json()["error"] == "method not allowed"


@pytest.mark.parametrize("path", ["/nothing", "/-/reload", "/api/v1/", "/livez/", "/%2e%2e/etc", "/<script>"])
def test_unknown_paths_are_not_found(server: WebServer, path: str) -> None:
    """Any other path is 404, in JSON that does not repeat the path."""
    answer = ask(server, path)
    assert answer.status == 404
    assert set(answer.json()) == {"error", "hint"}
    assert b"script" not in answer.body


@pytest.mark.parametrize("path", [*ALL, "/nothing"])
def test_every_answer_has_the_security_headers(server: WebServer, path: str) -> None:
    """Answers are never cached, sniffed, framed or read by other sites, and load nothing."""
    headers = ask(server, path).headers
    assert headers["Cache-Control"] == "no-store"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert "Access-Control-Allow-Origin" not in headers


def test_a_failing_view_is_an_answer_and_a_log_entry(
    server: WebServer, view: GivenView, caplog: pytest.LogCaptureFixture
) -> None:
    """When the agent cannot say its status the answer is 500 without the cause, and the log has it."""
    view.error = RuntimeError("secret detail")
    with caplog.at_level(logging.ERROR):
        answer = ask(server, "/api/v1/status")
    assert answer.status == 500
    assert b"secret" not in answer.body
    assert "secret detail" in caplog.text
    assert ask(server, "/livez").status == 200


class Page(html.parser.HTMLParser):
    """The elements, their attributes and the text of a page; checks that elements close in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        self.attributes += attrs
        if tag != "meta":
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(self.words)


HOSTILE = "<script>alert(1)</script>\"'&amp;<img src=x onerror=alert(2)>"


def test_hostile_names_stay_text(server: WebServer, view: GivenView) -> None:
    """Markup in a name, a path, an error or a problem is shown as it stands and makes no element."""
    harmless = Page(ask(server, "/").text)
    group = view.figures["groups"][0]
    group["name"] = group["source"] = group["epoch"] = HOSTILE
    group["problems"] = [HOSTILE]
    group["findings"] = [{"title": HOSTILE, "what": HOSTILE, "do": HOSTILE, "see": HOSTILE}]
    group["recent"][0] = {
        "sequence": 1,
        "time": HOSTILE,
        "type": HOSTILE,
        "path": HOSTILE,
        "moved_from": HOSTILE,
    }
    group["roots"][0]["path"] = group["roots"][0]["name"] = HOSTILE
    group["uncovered"] = [{"path": HOSTILE, "error": HOSTILE}]
    sink = group["sinks"][0]
    sink["name"] = sink["type"] = sink["last_error"] = sink["since"] = HOSTILE
    view.figures["version"] = HOSTILE
    view.figures["config"]["path"] = HOSTILE
    view.figures["config"]["last_reload"] = {"at": HOSTILE, "ok": False, "error": HOSTILE}
    page = Page(ask(server, "/").text)
    assert set(page.elements) - set(harmless.elements) <= {"ul", "li", "strong", "b"}
    assert {name for name, _ in page.attributes} == {name for name, _ in harmless.attributes}
    assert page.text.count(HOSTILE) >= 18


def test_the_page_needs_nothing_from_elsewhere(server: WebServer) -> None:
    """No image, frame or form, links to this server only; style and script are those that are allowed."""
    answer = ask(server, "/")
    page = Page(answer.text)
    assert not {"img", "iframe", "form", "link", "object"} & set(page.elements)
    assert {value for name, value in page.attributes if name in ("href", "src")} == {
        "#main",
        "/",
        "/api/v1/status",
        "/metrics",
    }
    assert not [name for name, _ in page.attributes if name.startswith("on") or name == "style"]
    for element in ("style", "script"):
        (content,) = re.findall(rf"<{element}>(.*?)</{element}>", answer.text, re.DOTALL)
        allowed = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{element}-src 'sha256-{allowed}'" in answer.headers["Content-Security-Policy"]


def test_the_page_tells_the_figures_to_everyone(server: WebServer) -> None:
    """The page has a language, a title, captions and headings, and says states in words."""
    page = Page(ask(server, "/").text)
    assert ("lang", "en") in page.attributes
    assert {("scope", "row"), ("scope", "col")} <= set(page.attributes)
    for words in (
        "OK · inotify-bridge",
        "No problems",
        "uploads",
        "/srv/uploads",
        "covered",
        "orders",
        "connected",
    ):
        assert words in page.text
    assert page.elements.count("caption") == page.elements.count("table") == 3


def test_the_page_shows_problems_first(server: WebServer, view: GivenView) -> None:
    """Problems of the agent and of its groups stand above the first group, and in the title."""
    view.figures["findings"] = [finding("The clock went back")]
    view.figures["groups"][0]["findings"] = [finding("A root is lost", "root /srv/uploads is lost")]
    view.figures["groups"][0]["outbox"]["blocked"] = True
    view.figures["groups"][0]["sinks"][0]["connected"] = False
    text = ask(server, "/").text
    page = Page(text)
    assert "2 problems · inotify-bridge" in page.words
    assert "root /srv/uploads is lost" in page.words
    assert {"The clock went back", "inotify-bridge doctor"} <= set(page.words)
    assert (
        text.index("The clock went back")
        < text.index("root /srv/uploads is lost")
        < text.index("group-uploads")
    )
    assert "not connected" in page.text
    assert "nothing is taken from the kernel" in page.text


def keys(shape: Any) -> set[str]:
    """All keys of a typed dict and of those inside it."""
    found: set[str] = set()
    for name, hint in get_type_hints(shape).items():
        found.add(name)
        for inner in (hint, *get_args(hint)):
            if is_typeddict(inner):
                found |= keys(inner)
    return found


def test_every_key_of_the_status_is_documented() -> None:
    """docs/status.md names every key of the API's answer."""
    document = (Path(__file__).parents[2] / "docs" / "status.md").read_text()
    names = set(re.findall(r"[a-z_]+", " ".join(re.findall(r"`([^`]*)`", document))))
    assert keys(AgentStatus) - names == set()


def test_every_section_that_is_named_is_there() -> None:
    """What is wrong points to a heading of docs/operations.md, whatever it is."""
    code = ast.parse(Path(findings.__file__).read_text())
    made = [
        node
        for node in ast.walk(code)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Finding"
    ]
    named = {last.value for node in made if isinstance(last := node.args[-1], ast.Constant)}
    document = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()
    assert len(made) >= 10
    assert named - set(re.findall("^## (.*)$", document, re.MULTILINE)) == set()


def test_the_view_of_the_tests_has_every_key(server: WebServer) -> None:
    """The answer has exactly the keys of the documented shape at its top."""
    answer = ask(server, "/api/v1/status").json()
    assert set(answer) == set(AgentStatus.__annotations__)
    assert set(answer["groups"][0]) == set(GroupStatus.__annotations__)
