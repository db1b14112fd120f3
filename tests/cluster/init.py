"""
The first process of the cluster's namespaces: starts what it is told to, and takes all along at its end.

    unshare --mount --net --pid --fork --kill-child --mount-proc python -m tests.cluster.init DIRECTORY

Each line of its input is a JSON list: a name, and a command that writes to DIRECTORY/NAME.log. The names of
what has ended stand in DIRECTORY/ended. The kernel kills all in a PID namespace when its first process
ends, and with the last process go mounts and network: so the end of the input, also by the death of the test
run, leaves nothing.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

# Where containerd, CNI and the kubelet write besides the directories that can be configured.
_OWN_DIRECTORIES = ("/run", "/var/lib", "/var/log")
# What the kubelet would set for the whole machine: it finds what it wants, in files over the real ones.
_WANTED_SYSCTLS = {
    "vm/overcommit_memory": 1,
    "vm/panic_on_oom": 0,
    "kernel/panic": 10,
    "kernel/panic_on_oops": 1,
    "kernel/keys/root_maxkeys": 1_000_000,
    "kernel/keys/root_maxbytes": 25_000_000,
}


def _mount(directory: Path) -> None:
    for name, value in _WANTED_SYSCTLS.items():
        wanted = directory / "sysctls" / name
        wanted.parent.mkdir(parents=True, exist_ok=True)
        wanted.write_text(f"{value}\n")
        subprocess.run(["mount", "--bind", str(wanted), f"/proc/sys/{name}"], check=True)
    for path in _OWN_DIRECTORIES:
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", path], check=True)
    # As systemd has it: else no container may see what is mounted later (mountPropagation: HostToContainer).
    subprocess.run(["mount", "--make-rshared", "/"], check=True)


def _launch(name: str, command: list[str], directory: Path) -> int:
    log = os.open(directory / f"{name}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    files = [(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)]
    files += [(os.POSIX_SPAWN_DUP2, log, 1), (os.POSIX_SPAWN_DUP2, log, 2)]  # type: ignore[list-item]
    pid = os.posix_spawnp(command[0], command, os.environ, file_actions=files)
    os.close(log)
    return pid


def _reap(launched: dict[int, str], directory: Path) -> None:
    """Orphans become children of the first process, and zombies unless it waits for them."""
    try:
        while pid := os.waitpid(-1, os.WNOHANG)[0]:
            if pid in launched:
                with (directory / "ended").open("a") as ended:
                    ended.write(f"{launched[pid]}\n")
    except ChildProcessError:
        pass


def main(directory: Path) -> None:
    """Serve until the input ends."""
    _mount(directory)
    launched: dict[int, str] = {}
    signal.signal(signal.SIGCHLD, lambda *_: _reap(launched, directory))
    for line in sys.stdin:
        name, command = json.loads(line)
        launched[_launch(name, command, directory)] = name


if __name__ == "__main__":
    main(Path(sys.argv[1]))
