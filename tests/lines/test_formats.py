"""Text to fields."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inotify_bridge.errors import ConfigError
from inotify_bridge.events.envelope import Encoder
from inotify_bridge.lines.extract import Extractor
from inotify_bridge.lines.fields import Timestamp, converted
from inotify_bridge.lines.formats import NAMES, NESTED, ready_made
from inotify_bridge.lines.pattern import Mismatch, own
from inotify_bridge.lines.splitter import Raw

NGINX = (
    '203.0.113.7 - frank [10/Oct/2026:13:55:36 -0700] "GET /a?b=\\"c\\" HTTP/1.1" 200 2326 '
    '"https://example.com/" "Mozilla/5.0 (X11) \\"x\\""'
)


def parse(name: str, text: str) -> dict[str, Any]:
    """By a format's name."""
    return dict(ready_made(name).parse(text))


def test_combined() -> None:
    """Every part of a line of nginx or Apache, its request taken apart, its time in UTC."""
    found = parse("combined", NGINX)
    assert (found["remote_addr"], found["user"]) == ("203.0.113.7", "frank")
    assert found["time"] == "2026-10-10T20:55:36.000000Z"
    assert (found["method"], found["path"], found["protocol"]) == ("GET", '/a?b=\\"c\\"', "HTTP/1.1")
    assert (found["status"], found["bytes"]) == (200, 2326)
    assert found["ident"] is None
    assert found["user_agent"].startswith("Mozilla")


def test_common() -> None:
    """The common log format lacks the last two; what is no request stands as it is."""
    found = parse("combined", '::1 - - [10/Oct/2026:13:55:36 +0000] "\\x16\\x03" 400 -')
    assert found["request"] == "\\x16\\x03"
    assert [found[name] for name in ("method", "bytes", "referer", "user")] == [None] * 4


@pytest.mark.parametrize("text", ["", "x", NGINX[:-1], NGINX.replace("Oct", "Abc"), NGINX + ' "more"'])
def test_not_combined(text: str) -> None:
    """Anything else is refused."""
    with pytest.raises(Mismatch):
        parse("combined", text)


def test_syslog_5424() -> None:
    """All fields of RFC 5424, with its structured data."""
    text = '<165>1 2026-10-11T22:14:15.003Z host app 123 ID47 [a@1 k="v\\"\\]" l="m"][b] hello [x]'
    found = parse("syslog", text)
    assert (found["facility"], found["severity"]) == (20, 5)
    assert found["time"] == "2026-10-11T22:14:15.003000Z"
    assert (found["host"], found["program"], found["pid"], found["message_id"]) == (
        "host",
        "app",
        123,
        "ID47",
    )
    assert found["data"] == {"a@1": {"k": 'v"]', "l": "m"}, "b": {}}
    assert found["message"] == "hello [x]"


def test_syslog_3164() -> None:
    """As files hold it: without a priority, with or without a process id, with an ISO time too."""
    found = parse("syslog", "<34>Oct 11 22:14:15 host su[12]: 'su root' failed")
    assert (found["facility"], found["program"], found["pid"]) == (4, "su", 12)
    assert found["message"] == "'su root' failed"
    assert found["time"].endswith(":14:15.000000Z")
    bare = parse("syslog", "Oct  1 02:03:04 host kernel: [1.5] x")
    assert (bare["severity"], bare["program"], bare["message"]) == (None, "kernel", "[1.5] x")
    new = parse("syslog", "2026-11-21T08:00:00.5+01:00 host CRON[7]: (root) CMD")
    assert (new["time"], new["pid"]) == ("2026-11-21T07:00:00.500000Z", 7)


def test_json() -> None:
    """An object is its fields; what JSON has no word for, and what is no object, is refused."""
    assert parse("json", '{"a": {"b": [1, null]}, "c": "d"}') == {"a": {"b": [1, None]}, "c": "d"}
    for wrong in ("[1]", "x", '{"a": NaN}', '{"a": ', "[" * 100_000, '{"a": ' + "1" * 5000 + "}"):
        with pytest.raises(Mismatch):
            parse("json", wrong)


def test_logfmt() -> None:
    """Words, quoted text with escapes, and keys alone."""
    text = r'ts=2026-01-01T00:00:00Z msg="a \"b\"\n\u00e9" empty= flag level=info'
    assert parse("logfmt", text) == {
        "ts": "2026-01-01T00:00:00Z",
        "msg": 'a "b"\né',
        "empty": "",
        "flag": True,
        "level": "info",
    }
    for wrong in ('a="b', "=x", 'a="b"c'):
        with pytest.raises(Mismatch):
            parse("logfmt", wrong)


@pytest.mark.usefixtures("re2")
def test_a_pattern_of_ones_own() -> None:
    """The whole entry must match, a group that took no part is null, and letters beyond ASCII stay whole."""
    extract, names = own(r"(?P<level>\w+):(?P<code> \d+)? (?P<message>.*)")
    assert names == {"level", "code", "message"}
    assert extract("ERROR: über\nzwei") == {"level": "ERROR", "code": None, "message": "über\nzwei"}
    with pytest.raises(Mismatch, match="does not match"):
        extract("no")


@pytest.mark.usefixtures("re2")
@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("(", "missing"),
        ("no groups", "no named group"),
        (r"(?P<a>x)(?=y)", "does not compile"),
        (r"(?P<a>.)\1", "compile"),
    ],
)
def test_patterns_that_are_none(pattern: str, reason: str) -> None:
    """A pattern that does not compile, or names nothing, is refused with its reason."""
    with pytest.raises(ConfigError, match=reason):
        own(pattern)


@pytest.mark.usefixtures("re2")
@pytest.mark.parametrize("pattern", [r"(?P<a>(a+)+)b", r"(?P<a>(.*)(.*)(.*)(.*)(.*)x)", r"(?P<a>(a|aa)+)$c"])
def test_catastrophic_patterns_stop_nothing(pattern: str) -> None:
    """Where a backtracking engine would need years a match is over at once."""
    extract, _ = own(pattern)
    began = time.process_time()
    with pytest.raises(Mismatch):
        extract("a" * 20_000)
    assert time.process_time() - began < 10  # years, else


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "evil", ['"' * 20_000, "\\" * 20_000, "a " * 10_000, "[" * 20_000, "<1>1" + " [a" * 9_000, "a=" * 9_000]
)
def test_ready_made_patterns_go_back_nowhere(name: str, evil: str) -> None:
    """What is made to be nearly right costs no more than any other line."""
    began = time.process_time()
    for text in (evil, f"Oct  1 02:03:04 h p[{evil}", f'a - - [10/Oct/2026:13:55:36 +0000] "{evil}'):
        try:
            ready_made(name).parse(text)
        except Mismatch:
            continue
    assert time.process_time() - began < 10


@pytest.mark.usefixtures("re2")
def test_converted() -> None:
    """Numbers and times become what they are; null stays, and what is none of it is refused by name."""
    extract, _ = own(r"(?P<n>\S+) (?P<x>\S+) (?P<t>\S+)(?P<none>!)?")
    kinds: dict[str, Any] = {"n": "int", "x": "float", "t": "timestamp", "none": "int", "absent": "int"}
    both = converted(extract, kinds, None)
    found = both("7 1.5 2026-11-21T08:00:00+01:00")
    assert found == {"n": 7, "x": 1.5, "t": "2026-11-21T07:00:00.000000Z", "none": None}
    for wrong, name in (
        ("a 1 2026-11-21", "n"),
        ("1 inf 2026-11-21", "x"),
        ("1 1 yesterday", "t"),
        ("1_0 1 2026-11-21", "n"),
    ):
        with pytest.raises(Mismatch, match=f"field {name} "):
            both(wrong)


@pytest.mark.usefixtures("re2")
@pytest.mark.parametrize(
    ("time_format", "text", "expected"),
    [
        ("unix", "1700000000.25", "2023-11-14T22:13:20.250000Z"),
        ("%d/%b/%Y %H:%M:%S %z", "01/Feb/2026 00:00:00 +0100", "2026-01-31T23:00:00.000000Z"),
        ("%Y-%m-%d", "0001-01-02", None),
    ],
)
def test_time_formats(time_format: str, text: str, expected: str | None) -> None:
    """Seconds since 1970, and anything that strptime reads."""
    extract, _ = own("(?P<t>.*)")
    kinds: dict[str, Any] = {"t": "timestamp"}
    found = converted(extract, kinds, time_format)(text)["t"]
    assert found == expected or (expected is None and found.startswith("0001-01-0"))


@pytest.mark.parametrize(
    ("time_format", "text", "expected"),
    [
        ("%Y-%m-%d %H:%M:%S %Z", "2026-06-01 12:00:00 UTC", "2026-06-01T12:00:00.000000Z"),
        ("%Y-%m-%d %H:%M:%S %Z", "2026-06-01 12:00:00 EDT", "2026-06-01T16:00:00.000000Z"),
        ("%Y-%m-%d %H:%M:%S %Z", "2026-11-01 01:30:00 EST", "2026-11-01T06:30:00.000000Z"),
        ("%b %e %T %Y %Z", "Jun  1 12:00:00 2026 GMT", "2026-06-01T12:00:00.000000Z"),
        ("%F %T", "2026-06-01 12:00:00", "2026-06-01T16:00:00.000000Z"),
    ],
)
def test_zones(new_york: None, time_format: str, text: str, expected: str) -> None:
    """A zone that is written counts, by its name too; only without one it is the local one."""
    assert Timestamp(time_format)(text) == expected


@pytest.fixture
def new_york(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The local zone."""
    monkeypatch.setenv("TZ", "EST5EDT,M3.2.0,M11.1.0")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("re2")
def test_years_that_are_not_written() -> None:
    """A time without a year is of the last such day that is not in the future, whatever braces it holds."""
    extract, _ = own("(?P<t>.*)")
    kinds: dict[str, Any] = {"t": "timestamp"}
    both = converted(extract, kinds, "%b %d %H:%M:%S")
    year = int(both("Feb 29 12:00:00")["t"][:4])
    assert year % 4 == 0
    assert year <= time.gmtime().tm_year
    with pytest.raises(Mismatch):
        both("{0} %s")


def _data(raw: bytes, name: str | None, encoding: str = "utf-8") -> dict[str, Any]:
    extractor = Extractor(encoding, None if name is None else ready_made(name).parse)
    item = extractor.item(Raw(5, 2, len(raw) + 1, raw), b"app.log", 10**18)
    body = Encoder("source", "g", "0" * 20).encode(item, 1)[2]
    found: dict[str, Any] = json.loads(body)["data"]
    return found


def test_the_event() -> None:
    """An entry says where it stands, what was extracted and what it is."""
    assert _data(b'{"a":1}', "json") == {
        "log": {"file": {"path": "app.log"}, "offset": 5, "line": 2, "length": 8},
        "fields": {"a": 1},
        "message": '{"a":1}',
    }


@pytest.mark.parametrize(("offset", "expected"), [(0, "log.entry"), (5, "log.rejected")])
def test_a_mark_of_byte_order(offset: int, expected: str) -> None:
    """At the front of a file it is none of the first line's text; in the middle it is what it is."""
    raw = b'\xef\xbb\xbf{"a": 1}'
    item = Extractor("UTF8", ready_made("json").parse).item(Raw(offset, 1, len(raw) + 1, raw), b"app.log", 1)
    assert f"log.{item.kind}" == expected


def test_invalid_bytes() -> None:
    """Bytes that are not of the encoding are replaced, and given as they are beside it."""
    found = _data(b"a\xff", None)
    assert (found["message"], found["message_b64"]) == ("a�", "Yf8=")
    assert _data(b"a\xff", None, "latin-1")["message"] == "aÿ"
    assert "message_b64" not in _data(b"a\xff", None, "latin-1")


@given(st.binary(min_size=1, max_size=60), st.sampled_from([None, *NAMES]))
def test_any_bytes_become_an_event(raw: bytes, name: str | None) -> None:
    """Whatever a line holds, what comes of it is JSON in Unicode with its text."""
    found = _data(raw, name)
    assert found["message"] == raw.decode("utf-8", "replace")
    assert ("fields" in found) != ("reason" in found)


def test_a_number_that_is_too_large() -> None:
    """1e999 is JSON, and infinity is not: the line is rejected, and its event can be read."""
    data = _data(b'{"a": 1e999}', "json")
    assert data["reason"] == "has a number that is too large"


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"b":', "}"), ('[{"b":', "}]")])
def test_json_that_is_nested(opening: str, closing: str) -> None:
    """What is nested up to a limit is taken, as marks in a string do not count; what is deeper never is."""
    each = opening.count("[") + opening.count("{")
    times = (NESTED - 1) // each

    def line(times: int) -> bytes:
        return ('{"a":' + opening * times + '"' + "[{" * NESTED + '"' + closing * times + "}").encode()

    assert "fields" in _data(line(times), "json")
    assert _data(line(times + each), "json")["reason"] == "is JSON that is nested too deeply"
    assert _data(line(50_000), "json")["reason"] == "is JSON that is nested too deeply"


@pytest.mark.parametrize("name", [None, "json"])
def test_what_moves_the_cursor_of_a_terminal(name: str | None) -> None:
    """No control character of a log stands bare in an event, nor what ends a line for some; none is lost."""
    hidden = "".join(map(chr, [*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029]))
    line = json.dumps({"a": hidden, hidden: "é"}, ensure_ascii=False)
    raw = Raw(0, 1, len(line), line.encode())
    item = Extractor("utf-8", None if name is None else ready_made(name).parse).item(raw, b"p", 0)
    assert not set(hidden) & set(item.data)
    assert json.loads(item.data)["message"] == line
    assert json.loads(item.data)["fields"] == ({"a": hidden, hidden: "é"} if name else {})


def test_half_of_a_pair() -> None:
    """JSON can escape what is no Unicode: it is replaced."""
    assert _data(rb'{"a":"\ud800"}', "json")["fields"] == {"a": "?"}


def test_structured_data_that_never_begins() -> None:
    """Brackets that open no element are passed over once, and what surrounds them is found."""
    began = time.process_time()
    found = parse("syslog", f'<1>1 - h p - - {"[" * 100_000} x][a b="c]"] m')
    assert time.process_time() - began < 10
    assert found["data"] == {"a": {"b": "c]"}}


@pytest.mark.usefixtures("re2")
@pytest.mark.parametrize(
    "pattern", [r"(?P<a>.)[(?P<a>]", r"(?P<a>.)\(?P<a>", r"(?P<a>.)\Q(?P<a>\E", r"(?P<a>.)[\](?P<a>]"]
)
def test_what_is_no_group(pattern: str) -> None:
    """What is quoted or in a class has no name that could stand twice."""
    assert own(pattern)[1] == {"a"}


def test_without_re2(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pattern of one's own says what has to be installed for it."""
    monkeypatch.setitem(sys.modules, "re2", None)
    with pytest.raises(ConfigError, match="google-re2") as caught:
        own("(?P<a>.)")
    assert caught.value.hint == "pip install 'inotify-bridge[lines]'"
