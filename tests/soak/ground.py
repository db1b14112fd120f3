"""Where a campaign takes place: directories, mounts and limits that are nobody else's."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from tests.kernel.namespaces import Mounts, set_watches
from tests.waiting import eventually

STATE_BYTES: Final = 128 * 1024**2
MANY_WATCHES: Final = 100_000

FILLER: Final = b"filler/"
"""Below the root: what is in there is in nobody's stream, but in the kernel's queue like anything else."""

_EVERYBODY: Final = "0 0 4294967295\n"
_KEEP: Final = "echo ready; exec cat >&2"


class Ground:
    """
    A private mount namespace and, within it, a user namespace in which everybody is who he is outside.

    The agent looks at `watched`, a mount of the real directory, which can be taken away; the work goes on in
    the real one, below `root`. Its state directory is a small file system of its own.

    Args:
        above: an existing directory to make everything in; its file system is the tree's.
    """

    def __init__(self, above: Path) -> None:
        self._stack = ExitStack()
        made = self._stack.enter_context(
            tempfile.TemporaryDirectory(prefix="inotify-bridge-soak-", dir=above)
        )
        self._top = Path(made).resolve()
        self.watched = self._top / "watched"
        self.state = self._top / "state"
        self._real = self._top / "real"
        self._kept: dict[str, bytes] = {}

    def __enter__(self) -> Self:
        for path in (self.watched, self.state, self._real / "root" / "work", self._real / "root" / "filler"):
            path.mkdir(parents=True)
        (self._real / "outside").mkdir()
        self._mounts = self._stack.enter_context(Mounts())
        self._keeper = self._stack.enter_context(_user_namespace(self._mounts.prefix))
        self._mounts.run("mount", "-t", "tmpfs", "-o", f"size={STATE_BYTES}", "none", self.state)
        self.mount()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @property
    def prefix(self) -> list[str]:
        """Runs a command within."""
        return ["nsenter", f"--target={self._keeper}", "--user", "--mount"]

    @property
    def root(self) -> Path:
        """The real directory, whatever is mounted."""
        return self._real / "root"

    @property
    def outside(self) -> Path:
        """Another one on its file system."""
        return self._real / "outside"

    @property
    def seen(self) -> Path:
        """What the agent sees at `watched`, reached from here."""
        return self._mounts.at(self.watched)

    # -- faults

    def mount(self) -> None:
        """The real directory is what is watched."""
        self._mounts.run("mount", "--bind", self.root, self.watched)

    def unmount(self) -> None:
        """Take away the topmost mount at `watched`."""
        eventually(lambda: self._mounts.succeeds("umount", self.watched), what="the unmount")

    def mount_over(self) -> None:
        """Another file system, with something in it, hides what is watched."""
        self._mounts.tmpfs(self.watched)
        (self.seen / "other").mkdir()
        (self.seen / "other" / "file").write_text("of another file system")

    def fill_state(self) -> None:
        """No block is left in the state directory."""
        with (self._inside / "filler").open("ab", buffering=0) as filler:
            for size in (1024**2, 4096):
                while _written(filler.fileno(), size):
                    pass

    def free_state(self) -> None:
        """The blocks are there again."""
        (self._inside / "filler").unlink(missing_ok=True)

    def lose_database(self) -> None:
        """The agent's database is gone; what is beside it stays. Nobody may have it open, here and below."""
        for file in self._database():
            file.unlink()

    def damage_database(self) -> None:
        """Its first page is garbage; what an agent has set aside for that before goes."""
        known = {*self._database(), *self._inside.glob("*.note"), *self._inside.glob("lock")}
        for file in set(self._inside.iterdir()) - known:
            file.unlink()
        for file in self._database():
            if file.suffix == ".db":
                with file.open("r+b") as database:
                    database.write(b"\xa5" * 4096)
            else:
                file.unlink()  # what is still in there would mend it

    def remove_set_aside(self) -> None:
        """Databases that the agent found damaged stay for ever, and the file system is small."""
        for file in self._inside.glob("*.corrupt-*"):
            file.unlink()

    def keep_database(self) -> bool:
        """Keep a copy for later, as a backup would. Returns whether there was one already, which stays."""
        if self._kept:
            return True
        self._kept = {file.name: file.read_bytes() for file in self._database() if file.suffix != ".db-shm"}
        return False

    def restore_database(self) -> None:
        """The copy takes the place of what is there, in the same file; a full directory stays full."""
        full = (self._inside / "filler").exists()
        self.free_state()
        # Room first: the file system is small, and what is there may have grown since the copy.
        for file in self._database():
            if file.suffix == ".db":
                os.truncate(file, 0)
            else:
                file.unlink()
        for name, content in self._kept.items():
            (self._inside / name).write_bytes(content)
        self._kept = {}
        if full:
            self.fill_state()

    @property
    def _inside(self) -> Path:
        return self._mounts.at(self.state)

    def _database(self) -> list[Path]:
        return [file for file in self._inside.iterdir() if file.suffix in (".db", ".db-wal", ".db-shm")]

    def limit_watches(self, count: int) -> None:
        """So many watches may the agent have, with those that it has."""
        set_watches(self._keeper, count)


def _written(descriptor: int, size: int) -> bool:
    try:
        return os.write(descriptor, bytes(size)) > 0
    except OSError:
        return False


@contextmanager
def _user_namespace(prefix: list[str]) -> Iterator[int]:
    """A process in a user namespace that maps everybody to himself, so that it bounds watches alone."""
    command = [*prefix, "unshare", "--user", "sh", "-c", _KEEP]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as keeper:
        try:
            assert keeper.stdout is not None
            assert keeper.stdout.readline() == b"ready\n", "no user namespace is to be had here"
            for kind in ("uid_map", "gid_map"):
                Path(f"/proc/{keeper.pid}/{kind}").write_text(_EVERYBODY)
            set_watches(keeper.pid, MANY_WATCHES)
            yield keeper.pid
        finally:
            keeper.kill()
