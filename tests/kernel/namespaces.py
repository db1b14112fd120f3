"""Namespaces of the kernel for tests: what is mounted or limited in them is nobody else's."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from types import TracebackType

import pytest

_CANNOT = "no private namespace is to be had here: "


def _needs(*command: str) -> None:
    done = subprocess.run([*command, "true"], capture_output=True, check=False)
    if done.returncode != 0:
        pytest.skip(_CANNOT + done.stderr.decode().strip())


class Mounts:
    """A private mount namespace, kept by a process that ends with this one; for a `with` statement."""

    def __enter__(self) -> Mounts:
        _needs("unshare", "--mount")
        self._keeper = subprocess.Popen(
            ["unshare", "--mount", "--propagation", "private", "sh", "-c", "echo ready; exec cat >&2"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._keeper.stdout is not None
        assert self._keeper.stdout.readline() == b"ready\n"
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._keeper.kill()
        self._keeper.communicate()

    @property
    def prefix(self) -> list[str]:
        """Runs a command within."""
        return ["nsenter", f"--target={self._keeper.pid}", "--mount"]

    def at(self, path: Path) -> Path:
        """How a path within is reached from here."""
        return Path(f"/proc/{self._keeper.pid}/root") / path.relative_to("/")

    def run(self, *command: str | Path) -> None:
        """Run a command within. Raises: CalledProcessError."""
        subprocess.run([*self.prefix, *(os.fspath(word) for word in command)], check=True)

    def succeeds(self, *command: str | Path) -> bool:
        """Run a command within; whether it ended well."""
        words = [os.fspath(word) for word in command]
        return subprocess.run([*self.prefix, *words], check=False, capture_output=True).returncode == 0

    def tmpfs(self, path: Path) -> None:
        """Mount an empty tmpfs."""
        self.run("mount", "-t", "tmpfs", "none", path)


def with_watches(limit: int) -> list[str]:
    """A command's prefix: in a user namespace of its own, which may have only so many inotify watches."""
    _needs("unshare", "--user", "--map-root-user")
    script = f'echo {limit} > /proc/sys/user/max_inotify_watches && exec "$@"'
    return ["unshare", "--user", "--map-root-user", "sh", "-c", script, "sh"]


def set_watches(pid: int, limit: int) -> None:
    """Another limit in the user namespace of a process."""
    script = f"echo {limit} > /proc/sys/user/max_inotify_watches"
    command = ["nsenter", f"--target={pid}", "--user", "--preserve-credentials", "sh", "-c", script]
    subprocess.run(command, check=True)


def without_override() -> list[str]:
    """A command's prefix: bound to the permissions of files also where it runs as root."""
    if os.geteuid() != 0:
        return []
    command = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]
    _needs(*command)
    return command
