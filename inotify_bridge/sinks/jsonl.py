"""The sink that keeps a file: one JSON object a line, fsynced before it counts, rotated by size."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import stat
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar, Final

from pydantic import BaseModel, ConfigDict, Field

from inotify_bridge.durable import sync_directory
from inotify_bridge.errors import SinkMisconfigured, SinkUnavailable
from inotify_bridge.sinks.base import ACCEPTED, Message, Newest, Outcome, SinkContext
from inotify_bridge.units import Bytes

_FLAGS: Final = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW
_SEARCH: Final = 64 * 1024
_TAIL: Final = 1024**2
_BEGIN: Final = b'{"specversion":"1.0","id":"'
_OURS: Final = re.compile(re.escape(_BEGIN) + rb'[0-9a-f]{20}-[0-9]{12,}"')
_OURS_BYTES: Final = len(_BEGIN) + 20 + 1 + 12 + 1


class JsonlFile:
    """
    One file, shared by the sinks of all groups that name it: one batch at a time.

    It is open while any of them is connected, and locked against other processes.
    """

    _files: ClassVar[dict[Path, JsonlFile]] = {}
    _files_lock: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._users: set[object] = set()
        self._descriptor = -1

    @classmethod
    def at(cls, path: Path) -> JsonlFile:
        """The one for this path in this process."""
        key = path.parent.resolve() / path.name  # a link in its place is not followed
        with cls._files_lock:
            return cls._files.setdefault(key, cls(key))

    def join(self, user: object) -> None:
        """Open the file for one more sink. Raises: SinkUnavailable."""
        with self._lock, self._explained():
            self._users.add(user)
            if self._descriptor < 0:
                self._open()

    def leave(self, user: object) -> None:
        """
        Close the file when no other sink uses it.

        Where a batch is being written, its writer does so afterwards: nobody waits for the disk here.
        """
        self._users.discard(user)
        self._close_if_unused()

    def append(self, lines: Sequence[bytes], user: object, rotate_bytes: int, rotate_keep: int) -> None:
        """
        Append whole lines and wait until they are on disk.

        Raises:
            SinkUnavailable: the file cannot be written, or the sink has left it. Some of the lines may stand.
        """
        try:
            with self._lock, self._explained():
                self._check(user)
                for portion in self._portions(lines, rotate_bytes, rotate_keep):
                    self._write(portion)
                os.fsync(self._descriptor)
        finally:
            self._close_if_unused()

    def _close_if_unused(self) -> None:
        # Whoever holds the lock looks here again when it has let go.
        if not self._users and self._lock.acquire(blocking=False):
            try:
                if not self._users:
                    self._close()
            finally:
                self._lock.release()

    # With the lock held

    def _check(self, user: object) -> None:
        if user not in self._users or self._descriptor < 0:
            raise SinkUnavailable(f"{self._path} is closed")
        if not self._stands():
            # Moved away by others (logrotate): what is written from now on belongs to the name.
            self._close()
            self._open()

    def _stands(self) -> bool:
        try:
            found, held = os.lstat(self._path), os.fstat(self._descriptor)
        except FileNotFoundError:
            return False
        return (found.st_dev, found.st_ino) == (held.st_dev, held.st_ino)

    def _portions(self, lines: Sequence[bytes], rotate_bytes: int, rotate_keep: int) -> Iterator[bytes]:
        """The lines in pieces that fit in the file, which is rotated between them."""
        size = os.fstat(self._descriptor).st_size
        start = 0
        for place, line in enumerate(lines):
            if rotate_bytes and size and size + len(line) > rotate_bytes:
                yield b"".join(lines[start:place])
                self._rotate(rotate_keep)
                start, size = place, 0
            size += len(line)
        yield b"".join(lines[start:])

    def _write(self, data: bytes) -> None:
        before = os.fstat(self._descriptor).st_size
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        except OSError:
            # No half line for those who read along; where that fails too, the next opening cuts it off.
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, before)
            raise

    def _rotate(self, keep: int) -> None:
        os.fsync(self._descriptor)
        self._close()
        for number in range(keep, 0, -1):
            older = self._path if number == 1 else self._numbered(number - 1)
            with contextlib.suppress(FileNotFoundError):
                os.replace(older, self._numbered(number))
        if not keep:
            os.unlink(self._path)
        self._open()

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")

    def _open(self) -> None:
        self._descriptor = os.open(self._path, _FLAGS, 0o640)
        if not stat.S_ISREG(os.fstat(self._descriptor).st_mode):
            self._close()
            raise SinkMisconfigured(f"{self._path} is no regular file", "name another path", "not_found")
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._close()
            raise SinkMisconfigured(
                f"{self._path} is written by another process", "give each agent a file of its own", "other"
            ) from None
        if not _cut_torn_line(self._descriptor):
            self._close()
            raise SinkMisconfigured(
                f"{self._path} ends in half a line, and nothing says that it is of this agent",
                "is it the right path? move the file away, or end its last line",
                "other",
            )
        sync_directory(self._path.parent)

    def _close(self) -> None:
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            os.close(descriptor)

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """After an error nothing is known about the file: it is closed, and opened by the next `join`."""
        try:
            yield
        except SinkUnavailable:
            raise
        except OSError as error:
            with contextlib.suppress(OSError):
                self._close()
            raise _unavailable(self._path, error) from error


class JsonlSink:
    """Appends messages to a file. What is accepted is on disk."""

    class Options(BaseModel):
        """Configuration of a ``jsonl`` sink."""

        model_config = ConfigDict(frozen=True, extra="forbid")

        path: Path
        """The file; its directory must exist."""
        rotate_bytes: Bytes = 0
        """Begin a new file before this one grows larger; 0: never."""
        rotate_keep: int = Field(default=5, ge=0, le=1000)
        """How many older files stay beside it: ``NAME.1`` is the youngest."""

    def __init__(self, options: Options, context: SinkContext) -> None:
        self._options = options
        self._source = context.source
        self._file = JsonlFile.at(options.path)
        self._connected = False

    @staticmethod
    def inspect(options: Options) -> SinkUnavailable | None:
        """See `inotify_bridge.sinks.base.Inspectable`: the directory is there and takes a file."""
        directory = options.path.parent
        code = errno.EISDIR if options.path.is_dir() else _directory_error(directory)
        if not code and options.path.is_symlink():
            code = errno.ELOOP
        return _unavailable(options.path, OSError(code, os.strerror(code))) if code else None

    def connect(self) -> None:
        """
        Open the file and cut off a line that a crash has left unfinished.

        Raises:
            SinkMisconfigured: its directory is missing, it may not be written, or another process writes it.
            SinkUnavailable: any other error of the file system.
        """
        self._file.join(self)
        self._connected = True

    def publish(self, batch: Sequence[Message]) -> list[Outcome]:
        """Append one line a message and fsync. Raises: SinkUnavailable, with what to do."""
        if not self._connected:
            raise SinkUnavailable(f"{self._options.path} is closed")
        lines = [message.body + b"\n" for message in batch]
        self._file.append(lines, self, self._options.rotate_bytes, self._options.rotate_keep)
        return [ACCEPTED] * len(batch)

    def check(self) -> None:
        """Raises: SinkMisconfigured, the directory has gone or takes no file any more."""
        if (trouble := self.inspect(self._options)) is not None:
            raise trouble

    def newest(self) -> Newest | None:
        """The last line of this source, looked for in the last mebibyte. Raises: SinkUnavailable."""
        for path in (self._options.path, Path(f"{self._options.path}.1")):
            for line in reversed(_last_lines(path)):
                if (found := Newest.read(line, self._source)) is not None:
                    return found
        return None

    def close(self) -> None:
        """Leave the file. Does not wait for a batch that is being written."""
        self._connected = False
        self._file.leave(self)


def _directory_error(directory: Path) -> int:
    """What would fail on making a file there, as an errno; 0: nothing."""
    try:
        found = os.stat(directory)
    except OSError as error:
        return error.errno or errno.EIO
    if not stat.S_ISDIR(found.st_mode):
        return errno.ENOTDIR
    return 0 if os.access(directory, os.W_OK | os.X_OK) else errno.EACCES


def _last_lines(path: Path) -> list[bytes]:
    """Whole lines from the end of a file; none where there is no such file. Raises: SinkUnavailable."""
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            file.seek(max(0, size - _TAIL))
            return file.read(_TAIL).split(b"\n")[1 if size > _TAIL else 0 :]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise _unavailable(path, error) from error


def _cut_torn_line(descriptor: int) -> bool:
    """Cut off what a crash left of a line. False: it may be of others, and stays."""
    size = os.fstat(descriptor).st_size
    torn = _line_start(descriptor, size)
    if torn < size:
        before = _line_start(descriptor, torn - 1) if torn else 0
        ours = torn and _begins_like_ours(os.pread(descriptor, min(torn - before, _OURS_BYTES), before))
        if not ours and not _is_of_a_crash(os.pread(descriptor, _TAIL, torn), size - torn):
            return False
        os.ftruncate(descriptor, torn)
    return True


def _line_start(descriptor: int, end: int) -> int:
    """Where the line begins that reaches up to `end`."""
    while end > 0:
        start = max(0, end - _SEARCH)
        found = os.pread(descriptor, end - start, start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0


def _is_of_a_crash(piece: bytes, length: int) -> bool:
    """Whether a piece of `length` bytes begins a line of ours, or is what a power loss leaves."""
    return _begins_like_ours(piece) or (length == len(piece) and not piece.strip(b"\0"))


def _begins_like_ours(piece: bytes) -> bool:
    if len(piece) < _OURS_BYTES:
        return piece.startswith(_BEGIN) or _BEGIN.startswith(piece)
    return _OURS.match(piece) is not None


def _unavailable(path: Path, error: OSError) -> SinkUnavailable:
    said = f"{path} cannot be written: {error.strerror}"
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return SinkMisconfigured(f"{said}: {path.parent}", "make that directory", "not_found")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return SinkMisconfigured(said, "let this user write the file and its directory", "authorization")
    if error.errno == errno.ELOOP:
        return SinkMisconfigured(f"{path} is a symbolic link", "name the file itself", "not_found")
    if error.errno == errno.EISDIR:
        return SinkMisconfigured(said, "name a file", "not_found")
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return SinkUnavailable(said, "free space there, or set rotate_bytes and rotate_keep", "other")
    return SinkUnavailable(said, "check the disk and the limits of this process", "other")
