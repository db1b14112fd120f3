"""
The note beside a database: what must hold of it when it is opened again.

A database that was restored from a backup, or taken from elsewhere, looks like any other. The note says which
file it was, which epoch it had and how far that had come; where the two disagree, numbers that were published
already could be given again, so the stream begins a new epoch.

The file has two places of 512 bytes, written in turn over what stood there: a torn write leaves the other
one, and no space is needed on a full disk.
"""

from __future__ import annotations

import json
import os
import secrets
import stat
import time
import zlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from inotify_bridge.durable import sync_directory
from inotify_bridge.errors import StoreError

_PLACE: Final = 512
_TIME_DIGITS: Final = 12


Doubt: TypeAlias = Literal["", "new", "missing", "corrupt", "note_missing", "restored", "rolled_back"]
"""Why the epoch of a database that was opened cannot go on; empty: it can."""


@dataclass(frozen=True, slots=True)
class Facts:
    """
    What a note says.

    Args:
        number: of the writing; the higher one of the two places counts.
        floor: the latest epoch that was ever minted; the next one is later.
        epoch: of the database.
        sequence: of a message that was committed in it, and perhaps handed to a sink.
        file_system, inode: of the database's file.
        boot: of the machine, when this was written; empty after a clean end.
    """

    number: int = 0
    floor: str = ""
    epoch: str = ""
    sequence: int = 0
    file_system: str = ""
    inode: int = 0
    boot: str = ""


class Note:
    """
    The note of one database. Used by the thread of the store.

    Args:
        database: its file; the note stands beside it.
    """

    def __init__(self, database: Path) -> None:
        self.path: Final = database.with_suffix(".note")
        self._database = database
        self.facts = self._read()
        """As they were read, and written since."""

    @property
    def found(self) -> bool:
        """Whether there was one."""
        return self.facts.number > 0

    def fits(self) -> bool:
        """Whether the database is the file that it was."""
        return _identity(self._database) == (self.facts.file_system, self.facts.inode)

    def doubt(self, epoch: str, last_sequence: int) -> Doubt:
        """What the database says of itself, compared with this."""
        if not epoch:
            return "missing" if self.found else "new"
        if not self.found:
            return "note_missing"
        if not self.fits():
            return "restored"
        behind = self.facts.epoch != epoch or last_sequence < self.facts.sequence
        return "rolled_back" if behind else ""

    def sync_directory(self) -> None:
        """Make the name of a new database durable. Raises: StoreError."""
        try:
            sync_directory(self.path.parent)
        except OSError as error:
            raise StoreError(
                f"{self.path.parent} cannot be synced: {error.strerror}", "check the disk", "io"
            ) from error

    @property
    def after_power_loss(self) -> bool:
        """Whether the last user of the database was ended by the end of the machine."""
        return self.facts.boot not in ("", _boot())

    def write(self, epoch: str, sequence: int, floor: str = "", clean: bool = False) -> None:
        """
        Put it on disk; it is there when this returns.

        Args:
            floor: where an epoch is about to be minted.
            clean: nothing is written to the database after this.
        Raises:
            StoreError: it cannot be written; what it said before stands.
        """
        try:
            file_system, inode = _identity(self._database)
            facts = replace(
                self.facts,
                number=self.facts.number + 1,
                floor=max(floor, self.facts.floor, epoch),
                epoch=epoch,
                sequence=sequence,
                file_system=file_system,
                inode=inode,
                boot="" if clean else _boot(),
            )
            self._put(facts)
        except OSError as error:
            raise StoreError(
                f"the note {self.path} cannot be written: {error.strerror}",
                "check the disk and the permissions of the state directory",
            ) from error
        self.facts = facts

    def _put(self, facts: Facts) -> None:
        new = not self.path.exists()
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            if new:
                os.pwrite(descriptor, b" " * (2 * _PLACE), 0)
            os.pwrite(descriptor, _packed(facts), facts.number % 2 * _PLACE)
            os.fdatasync(descriptor)
        finally:
            os.close(descriptor)
        if new:
            sync_directory(self.path.parent)

    def _read(self) -> Facts:
        """Whatever else stands at its place, a pipe or a link, is no note."""
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:
            return Facts()
        try:
            data = os.read(descriptor, 2 * _PLACE) if stat.S_ISREG(os.fstat(descriptor).st_mode) else b""
        except OSError:
            return Facts()
        finally:
            os.close(descriptor)
        places = (_unpacked(data[start : start + _PLACE]) for start in (0, _PLACE))
        return max(places, key=lambda facts: facts.number)


def new_epoch(floors: Iterable[str]) -> str:
    """
    An epoch that was never minted before, and is later than those given: 12 hexadecimal digits of Unix
    milliseconds and 8 random ones.
    """
    floor = max((int(epoch[:_TIME_DIGITS], 16) for epoch in floors if epoch), default=0)
    milliseconds = max(time.time_ns() // 1_000_000, floor + 1)
    return f"{milliseconds:0{_TIME_DIGITS}x}{secrets.token_hex(4)}"


def _packed(facts: Facts) -> bytes:
    text = json.dumps(asdict(facts), separators=(",", ":")).encode()
    return f"{zlib.crc32(text):08x} ".encode() + text.ljust(_PLACE - 10) + b"\n"


def _unpacked(place: bytes) -> Facts:
    check, _, text = place.strip().partition(b" ")
    if check != f"{zlib.crc32(text):08x}".encode():
        return Facts()
    said: dict[str, Any] = json.loads(text)
    return Facts(**{field.name: said[field.name] for field in fields(Facts) if field.name in said})


def _identity(path: Path) -> tuple[str, int]:
    """
    Of a file: the identifier of its file system, which outlives a boot where st_dev does not, and its inode.
    """
    return f"{os.statvfs(path).f_fsid:016x}", os.stat(path).st_ino


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        return "unknown"
