"""Changes and notices at random, with every kind of name that a file system takes."""

from __future__ import annotations

import stat

from hypothesis import strategies as st

from inotify_bridge.capture.change import TYPE_NAMES, Change, Notice, Stat
from inotify_bridge.events.event import DIRECTORY_KINDS, FILE_KINDS

SOURCE = "inotify://web-1/uploads"
GROUP = "uploads"
EPOCH = "0192f3a4b5c6d7e8f9a0"

_hostile = st.sampled_from(
    [
        b"%",
        b"%41",
        b"\\",
        b'"',
        b'","data":{',
        b"\n",
        b"\x1b[2J",
        b"\x7f",
        b"\xc2\x85",  # U+0085, a control character in two bytes
        b"\xff",
        b"\xed\xa0\x80",  # a surrogate, as careless encoders write it
        b"\xed\xb2\x80",  # U+DC80: what "surrogateescape" makes of the byte 0x80
        b"\xc0\xaf",  # an overlong slash
        b"\xf4\x90\x80\x80",  # above U+10FFFF
        "ä€𝄞\u2028\ufffe".encode(),
        b" ",
        b"..",
    ]
)
names = (
    st.lists(
        st.one_of(
            _hostile, st.binary(max_size=8), st.text(max_size=8).map(lambda t: t.encode(errors="replace"))
        )
    )
    .map(b"".join)
    .map(lambda name: name.replace(b"/", b"").replace(b"\0", b"")[:255])
    .filter(bool)
)
"""Any name: no NUL, no slash, 1 to 255 bytes."""

paths = st.lists(names, min_size=1, max_size=4).map(b"/".join)

_nanoseconds = st.one_of(
    st.integers(-(2**63), 2**63 - 1),
    st.integers(0, 3 * 10**9),
    st.integers(1_700_000_000 * 10**9, 1_900_000_000 * 10**9),
)
_word = st.integers(0, 2**64 - 1)


@st.composite
def stats(draw: st.DrawFn, type: int) -> Stat:
    """What lstat may say about an entry of a type."""
    mtime, ctime = draw(_nanoseconds), draw(_nanoseconds)
    return Stat(
        mode=type | draw(st.integers(0, 0o7777)),
        size=draw(st.integers(0, 2**63 - 1)),
        uid=draw(st.integers(0, 2**32 - 1)),
        gid=draw(st.integers(0, 2**32 - 1)),
        device=draw(_word),
        inode=draw(_word),
        links=1,
        mtime=mtime,
        ctime=ctime,
        target=draw(paths) if type == stat.S_IFLNK else None,
    )


@st.composite
def changes(draw: st.DrawFn) -> Change:
    """Any change that the reconciler may hand on."""
    type = draw(st.sampled_from(list(TYPE_NAMES)))
    kinds = DIRECTORY_KINDS if type == stat.S_IFDIR else FILE_KINDS
    kind = draw(st.sampled_from(list(kinds)))
    return Change(
        kind=kind,  # type: ignore[arg-type]
        path=draw(paths),
        type=type,
        origin=draw(st.sampled_from(("kernel", "scan", "resync", "poll"))),
        time=draw(_nanoseconds),
        source=draw(paths) if kind == "moved" else None,
        stat=draw(st.none() | stats(type)),
    )


def file_change(kind: str = "written", path: bytes = b"2026/a.csv", **fields: object) -> Change:
    """The change of the published example; `fields` replace those of the change."""
    about = Stat(
        0o100644, 123, 1000, 1000, 64769, 256383, 1, 1_795_248_000_100_000_000, 1_795_248_000_100_000_000
    )
    values = {"type": stat.S_IFREG, "origin": "kernel", "time": 1_795_248_000_123_456_789, "stat": about}
    return Change(kind, path, **(values | fields))  # type: ignore[arg-type]


_RESYNC = {"resync_id": "r1", "reason": "overflow"}
_COUNTED = {"entries": 3, "digest": "0" * 31 + "1", "duration_seconds": 0.25}
_ROOTS = {
    "version": "1.0",
    "roots": {"in": "/srv/in"},
    "kinds": ["created"],
    "replicable": True,
    "new_epoch": True,
}
NOTICES = (
    Notice("started", 10**18, None, _ROOTS),
    Notice("stopped", 10**18),
    Notice("resync_started", 10**18, b"", _RESYNC),
    Notice("resync_completed", 10**18, b"a\xff", _RESYNC | _COUNTED),
    Notice("coverage_degraded", 10**18, b"d\n", {"error": "ENOSPC", "fallback": "poll"}),
    Notice("coverage_restored", 10**18, b"d\n"),
    Notice("root_lost", 10**18, b""),
    Notice("root_restored", 10**18, b"in"),
    Notice("heartbeat", 10**18),
    Notice("probe", 10**18, None, {"version": "1.0"}),
)
"""One of every kind but the parked event, which is made of another message."""
