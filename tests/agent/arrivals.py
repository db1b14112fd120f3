"""What a consumer has received, and whether it is what was promised."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from inotify_bridge.subscribe import Decision, GapDetector, Replica, parse
from tests.fold import Fold, differences, disk
from tests.sinks.messages import assert_go_back_n

Event = dict[str, Any]


class Arrival(NamedTuple):
    """
    One message.

    Args:
        at: time of receipt, Unix nanoseconds.
        body: the envelope as it came.
        event: the envelope, parsed.
    """

    at: int
    body: bytes
    event: Event

    @property
    def position(self) -> tuple[str, int]:
        """Epoch and sequence."""
        epoch, _, digits = self.event["sequence"].partition("-")
        return epoch, int(digits)

    @property
    def kind(self) -> str:
        """For example ``file.written``, or ``stream.started``."""
        return ".".join(self.event["type"].split(".")[-3:-1])

    @property
    def path(self) -> str:
        """Of a file or directory event."""
        path: str = self.event["data"]["file"]["path"]
        return path


class Arrivals:
    """Messages in the order in which they came, repeats included."""

    def __init__(self, arrivals: Iterable[Arrival]) -> None:
        self.all = list(arrivals)

    @classmethod
    def read(cls, file: Path) -> Arrivals:
        """What a consumer has written; a line that it is just writing is left out."""
        lines = file.read_bytes().splitlines(keepends=True) if file.exists() else []
        split = (line.partition(b" ") for line in lines if line.endswith(b"\n"))
        return cls(Arrival(int(at), body, json.loads(body)) for at, _, body in split)

    @property
    def fresh(self) -> list[Arrival]:
        """Each message once, in the order of the stream."""
        return sorted(
            {one.position: one for one in reversed(self.all)}.values(), key=lambda one: one.position
        )

    @property
    def repeats(self) -> int:
        """How many came again."""
        return len(self.all) - len({one.position for one in self.all})

    def of(self, group: str) -> Arrivals:
        """Those of one watch group."""
        return Arrivals(one for one in self.all if one.event["watchgroup"] == group)

    def after(self, epoch: str, sequence: int) -> Arrivals:
        """Those behind a position of the stream."""
        return Arrivals(one for one in self.all if one.position > (epoch, sequence))

    def kinds(self) -> list[str]:
        """Of each message once."""
        return [one.kind for one in self.fresh]

    def paths(self, kind: str, origin: str | None = None) -> list[str]:
        """Paths of the events of one kind, each message once."""
        return [
            one.path
            for one in self.fresh
            if one.kind == kind and origin in (None, one.event["data"].get("origin"))
        ]

    # -- the promises

    def assert_dense(self) -> None:
        """Each epoch is numbered from 1 without a hole, begins with ``stream.started``, and is go-back-N."""
        for epoch in {one.position[0] for one in self.all}:
            mine = [one for one in self.all if one.position[0] == epoch]
            assert mine[0].kind == "stream.started", mine[0].event
            numbers = [one.position[1] for one in mine]
            assert_go_back_n(numbers, 1, max(numbers))

    def differences(self, root: Path | bytes) -> list[str]:
        """Where what they fold to differs from the disk; raises where they say what cannot be."""
        fold = Fold(strict=True)
        # What came early comes again in its place: a consumer waits for it.
        for one in self.all:
            if one.position[0] != fold.at[0] or one.position[1] <= fold.at[1] + 1:
                fold.event(one.event)
        return differences(fold.entries(), disk(bytes(root)))

    def digests(self) -> int:
        """Replay as a consumer does, by the public classes: how many digests its replica was checked by."""
        gaps, replica, checked = GapDetector(), Replica(), 0
        for one in self.all:
            event = parse(one.body)
            if gaps.offer(event) is Decision.APPLY:
                assert replica.apply(event), replica.invalid
                checked += "digest" in event.data
        return checked

    def assert_true(self, root: Path, digests: int = 1) -> None:
        """All of it: numbering, fold equal to the disk, and at least so many digests that agree."""
        self.assert_dense()
        assert self.differences(root) == []
        assert self.digests() >= digests
