"""What a consumer has received in the end, held against what is promised."""

from __future__ import annotations

from pathlib import Path

from tests.agent.arrivals import Arrivals
from tests.fold import Entry, Fold, differences, disk


def broken(arrivals: Arrivals, root: Path | None, only_types: bool = False) -> list[str]:
    """
    Every promise that was not kept, in a line each.

    Args:
        arrivals: everything that came, repeats included.
        root: the watched directory, quiet by now; None: they were cut off before the end of the stream.
        only_types: sizes, modes and owners do not count.
    """
    found: list[str] = []
    for promise in (_dense, _no_number_twice):
        try:
            promise(arrivals)
        except AssertionError as error:
            found.append(f"{promise.__name__[1:]}: {error!s:.2000}")
    if root is not None:
        try:
            _same_as_disk(arrivals, root, only_types)
            _agrees_with_digests(arrivals)
        except AssertionError as error:
            found.append(f"replay: {type(error).__name__}: {error!s:.2000}")
    return found


def _dense(arrivals: Arrivals) -> None:
    arrivals.assert_dense()


def _no_number_twice(arrivals: Arrivals) -> None:
    """Whatever comes again is, byte for byte, what came before under its id."""
    bodies: dict[str, bytes] = {}
    for one in arrivals.all:
        first = bodies.setdefault(one.event["id"], one.body)
        assert first == one.body, f"one number, two messages: {first!r} and {one.body!r}"


def _same_as_disk(arrivals: Arrivals, root: Path, only_types: bool) -> None:
    fold = Fold(strict=True)
    # What came early comes again in its place: a consumer waits for it.
    for one in arrivals.all:
        if one.position[0] != fold.at[0] or one.position[1] <= fold.at[1] + 1:
            fold.event(one.event)
    ours, real = fold.entries(), disk(bytes(root))
    if only_types:
        ours, real = _types(ours), _types(real)
    found = differences(ours, real)
    assert not found, f"{len(found)} differences: {found[:10]}"


def _agrees_with_digests(arrivals: Arrivals) -> None:
    """The public classes agree with every digest, and there was one."""
    assert arrivals.digests(), "no digest came"


def _types(entries: dict[bytes, Entry]) -> dict[bytes, Entry]:
    return {path: Entry(entry.type) for path, entry in entries.items()}
