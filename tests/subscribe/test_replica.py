"""The fold of events to a tree."""

from __future__ import annotations

import random
import stat
from dataclasses import replace
from typing import Any

import pytest

from inotify_bridge.capture.change import Change, Item, Notice, Stat
from inotify_bridge.events.digest import Digest
from inotify_bridge.events.envelope import Encoder
from inotify_bridge.events.parking import parked
from inotify_bridge.subscribe import Entry, Event, Replica, parse
from tests.events.strategies import GROUP, SOURCE, file_change

REGULAR, DIRECTORY = stat.S_IFREG, stat.S_IFDIR


class Sender:
    """Encodes items in their order, as a recorder does, and reads them, as a consumer does."""

    def __init__(self, epoch: str = "a", source: str = SOURCE) -> None:
        self._encoder = Encoder(source, GROUP, epoch)
        self._sequence = 0

    def send(self, item: Item, park: bool = False) -> Event:
        """The item as an event received."""
        self._sequence += 1
        body = self._encoder.encode(item, self._sequence)[2]
        return parse(parked(body, "lake", "too large") if park else body)


def _stat(type: int, size: int) -> Stat:
    return Stat(type | 0o600, size, 1, 2, 3, 4, 1, size * 10**9, 0)


def _change(
    kind: Any, path: bytes, type: int = REGULAR, size: int | None = 0, source: bytes | None = None
) -> Change:
    return Change(kind, path, type, "kernel", 0, source, None if size is None else _stat(type, size))


def _replica(*items: Item) -> tuple[Replica, Sender]:
    sender, replica = Sender(), Replica()
    for item in (Notice("started", 0), *items):
        assert replica.apply(sender.send(item))
    return replica, sender


def _sizes(replica: Replica) -> dict[bytes, int | None]:
    return {path: entry.size for path, entry in replica.items()}


TREE = (
    _change("created", b"d", DIRECTORY),
    _change("created", b"d/e", DIRECTORY),
    _change("created", b"d/e/f", size=1),
    _change("created", b"g", size=2),
)


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        ((), {b"d": 0, b"d/e": 0, b"d/e/f": 1, b"g": 2}),
        ([_change("written", b"g", size=7)], {b"d": 0, b"d/e": 0, b"d/e/f": 1, b"g": 7}),
        ([_change("ready", b"new", size=7)], {b"d": 0, b"d/e": 0, b"d/e/f": 1, b"g": 2, b"new": 7}),
        ([_change("written", b"g", size=None)], {b"d": 0, b"d/e": 0, b"d/e/f": 1, b"g": 2}),
        ([_change("deleted", b"g", size=None)], {b"d": 0, b"d/e": 0, b"d/e/f": 1}),
        ([_change("deleted", b"d", DIRECTORY, None)], {b"g": 2}),
        ([_change("deleted", b"nothing/here", size=None)], {b"d": 0, b"d/e": 0, b"d/e/f": 1, b"g": 2}),
        ([_change("moved", b"h", size=9, source=b"g")], {b"d": 0, b"d/e": 0, b"d/e/f": 1, b"h": 9}),
        ([_change("moved", b"h", size=None, source=b"g")], {b"d": 0, b"d/e": 0, b"d/e/f": 1, b"h": 2}),
        ([_change("moved", b"d/e/f", size=3, source=b"g")], {b"d": 0, b"d/e": 0, b"d/e/f": 3}),
        ([_change("moved", b"x", DIRECTORY, source=b"d")], {b"x": 0, b"x/e": 0, b"x/e/f": 1, b"g": 2}),
        ([_change("moved", b"d", DIRECTORY, source=b"d/e")], {b"d": 0, b"d/f": 1, b"g": 2}),
        ([_change("moved", b"g", DIRECTORY, source=b"d/e")], {b"d": 0, b"g": 0, b"g/f": 1}),
        (
            [_change("moved", b"n", size=5, source=b"unknown")],
            {b"d": 0, b"d/e": 0, b"d/e/f": 1, b"g": 2, b"n": 5},
        ),
        ([Notice("root_lost", 0, b"")], {b"d": 0, b"d/e": 0, b"d/e/f": 1, b"g": 2}),
        ([_change("deleted", b"", DIRECTORY, None)], {}),
        ([_change("created", b"", DIRECTORY, 1)], {b"": 1, b"d": 0, b"d/e": 0, b"d/e/f": 1, b"g": 2}),
    ],
)
def test_fold(items: list[Item], expected: dict[bytes, int]) -> None:
    """The fold of the contract, by examples: path to size."""
    replica, _ = _replica(*TREE, *items)
    assert _sizes(replica) == expected
    assert len(replica) == len(expected)
    assert all(path in replica for path in expected)


@pytest.mark.parametrize(
    "change",
    [
        _change("created", b"n"),
        _change("deleted", b"d", DIRECTORY, None),
        _change("moved", b"x\xff", DIRECTORY, source=b"d"),
    ],
)
def test_parked_is_folded_like_the_original(change: Change) -> None:
    """A message that was parked changes paths and types as the message would have done."""
    parked_replica, sender = _replica(*TREE)
    assert parked_replica.apply(sender.send(change, park=True))
    whole, _ = _replica(*TREE, change)
    assert parked_replica.digest() == whole.digest()
    assert parked_replica.sequence == whole.sequence


def test_parked_without_its_path() -> None:
    """A parked message whose path was too long makes the replica invalid: it is wrong, and says so."""
    replica, sender = _replica()
    assert not replica.apply(sender.send(_change("created", b"x" * 100_000), park=True))
    assert "could not carry its path" in replica.invalid


def test_all_fields() -> None:
    """An entry holds every field of its event."""
    replica, _ = _replica(
        Change(
            "created", b"l", stat.S_IFLNK, "scan", 0, None, Stat(0o120777, 3, 1, 2, 3, 4, 1, 5, 6, b"\xff")
        )
    )
    assert replica.get(b"l") == Entry("symlink", 3, 0o777, "1", "2", "4", "3", 5, b"\xff")
    assert replica.get(b"l/below") is None


def test_another_type_is_another_entry() -> None:
    """Stat fields are kept over an event that has none, but not those of an entry of another type."""
    replica, _ = _replica(_change("created", b"a", size=3), _change("created", b"a", DIRECTORY, None))
    assert replica.get(b"a") == Entry("dir")


def test_new_epoch() -> None:
    """A new epoch empties the replica and makes an invalid one valid; a lower one is refused."""
    replica, sender = _replica(*TREE)
    assert not replica.apply(sender.send(Notice("resync_completed", 0, b"", {"digest": "0" * 32})))
    assert replica.invalid
    assert not replica.apply(sender.send(file_change()))
    assert _sizes(replica) == {b"d": 0, b"d/e": 0, b"d/e/f": 1, b"g": 2}
    later = Sender("b")
    assert replica.apply(later.send(Notice("started", 0)))
    assert (replica.epoch, replica.sequence, replica.invalid, len(replica)) == ("b", 1, "", 0)
    with pytest.raises(ValueError, match="epoch"):
        replica.apply(sender.send(file_change()))


def test_one_source() -> None:
    """A replica refuses the events of a second source."""
    replica, _ = _replica()
    with pytest.raises(ValueError, match="one source"):
        replica.apply(Sender(source="inotify://other/uploads").send(file_change()))


def test_digest_is_checked() -> None:
    """A completed resync whose digest is the replica's leaves it valid, and one without a digest is taken."""
    replica, sender = _replica(*TREE)
    digest = Digest()
    digest.add_names(b"", [(b"d", "dir"), (b"g", "file")])
    digest.add(b"d/e", "dir")
    digest.add(b"d/e/f", "file")
    assert replica.digest() == digest.hexdigest()
    assert replica.apply(sender.send(Notice("resync_completed", 0, b"", {"digest": digest.hexdigest()})))
    assert replica.apply(sender.send(Notice("resync_completed", 0, b"")))


def test_event_without_path() -> None:
    """A file event that lost its path makes the replica invalid instead of being skipped."""
    replica, sender = _replica()
    event = replace(sender.send(file_change()), path=None)
    assert not replica.apply(event)
    assert "has no path" in replica.invalid


def test_deep_trees() -> None:
    """A tree of 3,000 levels is folded, moved, read and emptied without recursion."""
    replica, sender = _replica()
    for depth in range(1, 3001, 100):
        replica.apply(sender.send(_change("created", b"/".join([b"d"] * depth), DIRECTORY)))
    replica.apply(sender.send(_change("moved", b"m", DIRECTORY, source=b"d")))
    assert len(replica) == 30
    assert b"m/" + b"/".join([b"d"] * 2900) in replica
    replica.apply(sender.send(_change("deleted", b"m", DIRECTORY, None)))
    assert (len(replica), replica.digest()) == (0, "0" * 32)


class Model:
    """The fold again, as plainly as it can be said: a dict of paths."""

    def __init__(self) -> None:
        self.entries: dict[bytes, tuple[int, int]] = {}

    def below(self, path: bytes) -> list[bytes]:
        """The path, if it is there, and all below it."""
        return [p for p in self.entries if p == path or p.startswith(path + b"/")]

    def apply(self, change: Change) -> None:
        """Fold one change that has its stat."""
        if change.source is not None:
            moving = {p: self.entries.pop(p) for p in self.below(change.source)}
            self._remove(change.path)
            self.entries |= {change.path + p[len(change.source) :]: entry for p, entry in moving.items()}
        if change.kind == "deleted":
            self._remove(change.path)
        else:
            assert change.stat is not None
            self.entries[change.path] = (change.type, change.stat.size)

    def _remove(self, path: bytes) -> None:
        for gone in self.below(path):
            del self.entries[gone]

    def digest(self) -> str:
        """The digest by its definition."""
        digest = Digest()
        for path, (type, _) in self.entries.items():
            digest.add(path, type)
        return digest.hexdigest()


def _random_change(random_: random.Random, model: Model, number: int) -> Change | None:
    """A change that may happen to the model's tree; a rename may replace what it came out of."""
    directories = [b"", *(path for path, (type, _) in model.entries.items() if type == DIRECTORY)]
    known = list(model.entries) or [b""]
    parent = random_.choice(directories)
    path = (parent + b"/" if parent else b"") + random_.choice((b"a", b"b\xff", b"%c", b'd"', b"e"))
    there = model.entries.get(path)
    choice = random_.random()
    if choice < 0.45 and (there is None or there[0] == REGULAR):
        type = REGULAR if there or random_.random() < 0.5 else DIRECTORY
        return _change("written" if there else "created", path, type, number)
    if choice < 0.55 and known != [b""]:
        gone = random_.choice(known)
        return _change("deleted", gone, model.entries[gone][0], number)
    source = random_.choice(known)
    if not source or path == source or path.startswith(source + b"/"):
        return None
    return _change("moved", path, model.entries[source][0], number, source)


def test_random_trees() -> None:
    """Over random changes the replica is what the plain fold says, entry by entry and in its digest."""
    moved = 0
    for seed in range(40):
        random_, model = random.Random(seed), Model()
        replica, sender = _replica()
        for number in range(250):
            change = _random_change(random_, model, number)
            if change is None:
                continue
            moved += change.kind == "moved" and len(model.below(change.source or b"")) > 1
            model.apply(change)
            replica.apply(sender.send(change))
            if number % 10 == 0:
                assert _sizes(replica) == {path: size for path, (_, size) in model.entries.items()}
        assert replica.apply(sender.send(Notice("resync_completed", 0, b"", {"digest": model.digest()})))
    assert moved > 100


def test_emptied_names_are_forgotten() -> None:
    """Names that only led to an entry go with it: names that come and go do not fill the memory."""
    replica, sender = _replica(_change("created", b"x/y/z"), _change("created", b"x/w"))
    replica.apply(sender.send(_change("deleted", b"x/y/z", size=None)))
    assert list(replica._top.children[b"x"].children) == [b"w"]
    replica.apply(sender.send(_change("moved", b"v", source=b"x/w")))
    assert list(replica._top.children) == [b"v"]
