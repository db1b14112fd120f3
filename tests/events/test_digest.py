"""The digest of a tree."""

from __future__ import annotations

import hashlib
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inotify_bridge.capture.change import TYPE_NAMES
from inotify_bridge.events.digest import Digest
from tests.events import strategies

_entries = st.dictionaries(strategies.paths, st.sampled_from(sorted(TYPE_NAMES.values())), max_size=6)


def _naive(entries: dict[bytes, str]) -> str:
    total = 0
    for path, type in entries.items():
        total += int(hashlib.blake2b(path + b"\0" + type.encode(), digest_size=16).hexdigest(), 16)
    return f"{total % 2**128:032x}"


def _of(entries: dict[bytes, str]) -> Digest:
    digest = Digest()
    for path, type in entries.items():
        digest.add(path, type)
    return digest


@given(_entries)
def test_definition(entries: dict[bytes, str]) -> None:
    """The digest is the sum of the published definition."""
    assert _of(entries).hexdigest() == _naive(entries)


@given(_entries, _entries)
def test_removal(kept: dict[bytes, str], gone: dict[bytes, str]) -> None:
    """What is taken out leaves no trace, in whatever order."""
    digest = _of(gone | kept)
    for path, type in (gone | kept).items():
        if path not in kept:
            digest.remove(path, type)
    assert digest.hexdigest() == _naive(kept)


@given(
    st.one_of(st.just(b""), strategies.paths),
    st.dictionaries(strategies.names, st.sampled_from(list(TYPE_NAMES))),
)
def test_directory_at_once(directory: bytes, entries: dict[bytes, int]) -> None:
    """The names of one directory together give the same as one by one, with types as words or as S_IFMT."""
    digest = Digest()
    digest.add_names(directory, entries.items())
    prefix = directory + b"/" if directory else b""
    assert digest.hexdigest() == _naive({prefix + name: TYPE_NAMES[type] for name, type in entries.items()})


def test_nothing() -> None:
    """An empty tree has the digest zero, and so has one whose entries all went."""
    digest = Digest()
    assert digest.hexdigest() == "0" * 32
    digest.remove(b"a", "file")
    digest.add(b"a", stat.S_IFREG)
    assert digest.hexdigest() == "0" * 32


def test_type_counts() -> None:
    """The same name with another type is another tree; a type that does not exist is refused."""
    assert _of({b"a": "file"}).hexdigest() != _of({b"a": "dir"}).hexdigest()
    with pytest.raises(KeyError):
        _of({b"a": "folder"})
