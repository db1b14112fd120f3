"""Going on as a daemon: daemon(7), the traditional way."""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
from typing import Literal

from inotify_bridge.pyinotify._errors import NotifierError


def daemonize(pid_file: str | Literal[False] | None, stdin: str, stdout: str, stderr: str) -> None:
    """
    Return in a new process without a terminal; the calling process ends here, with 0.

    Args:
        pid_file: gets the new process's number, and is removed when that ends; it must not exist. None:
            /var/run/PROGRAM.pid. False: none.
        stdin, stdout, stderr: what the descriptors 0, 1 and 2 are opened on, in `/`; nothing is truncated.

    Raises:
        NotifierError: `pid_file` is there.
    """
    if pid_file is None:
        pid_file = f"/var/run/{os.path.basename(sys.argv[0]) or 'pyinotify'}.pid"
    if pid_file is not False and os.path.lexists(pid_file):
        raise NotifierError(f"Cannot daemonize: pid file {pid_file} already exists.")
    if os.fork():
        os._exit(0)
    os.setsid()
    if os.fork():
        os._exit(0)
    os.chdir("/")
    os.umask(0o022)
    _redirect(0, stdin, os.O_RDONLY)
    _redirect(1, stdout, os.O_WRONLY | os.O_CREAT)
    _redirect(2, stderr, os.O_WRONLY | os.O_CREAT)
    if pid_file is not False:
        _note_pid(pid_file)


def _redirect(standard: int, path: str, flags: int) -> None:
    fd = os.open(path, flags, 0o600)
    if fd != standard:
        os.dup2(fd, standard)
        os.close(fd)


def _note_pid(path: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_EXCL, 0o600)
    with open(fd, "w") as file:
        file.write(f"{os.getpid()}\n")
    atexit.register(_remove, path)


def _remove(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
