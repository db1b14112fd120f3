"""
A machine whose PID 1 is systemd, in namespaces of its own: its root is this machine's, with a layer in memory
over it, so that nothing it does is seen outside. Root is needed, and a cgroup v2 tree.
"""

from __future__ import annotations

import os
import resource
import shlex
import shutil
import subprocess
import sysconfig
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from tests.test_compat import ROOT
from tests.waiting import eventually

INSTALLED: Final = "/opt/inotify-bridge"
UNIT: Final = "inotify-bridge.service"
CONFIG: Final = "/etc/inotify-bridge/config.yaml"
DROP_INS: Final = f"/etc/systemd/system/{UNIT}.d"

_PYTHON: Final = "/usr/bin/python3"
_SYSTEMD: Final = "/lib/systemd/systemd"
_TREES: Final = (Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup"))

_VERSION: Final = "import sysconfig; print(sysconfig.get_python_version())"

_TARGET: Final = """[Unit]
DefaultDependencies=no
Wants=systemd-journald.service
"""

_PROGRAM: Final = f"""#!{INSTALLED}/bin/python3
import sys
sys.path.insert(0, "{INSTALLED}/source")
from inotify_bridge.cli import main
sys.exit(main())
"""

_BEGIN: Final = """
set -eu
mount --make-rprivate /
mount -t tmpfs none "$PLACE"
mkdir "$PLACE/upper" "$PLACE/work" "$PLACE/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$PLACE/upper,workdir=$PLACE/work" "$PLACE/root"
cd "$PLACE/root"
mount -t proc proc proc
mount -o bind,ro proc/sys proc/sys
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 none sys/fs/cgroup
mount --rbind /dev dev
mount -t tmpfs tmpfs run
mount -t tmpfs tmpfs tmp
mount -t tmpfs tmpfs var/tmp
cp -r "$FILES/." .
"$PYTHON" -m venv --without-pip "$PLACE/root$INSTALLED"
sed -i "s|$PLACE/root||" ".$INSTALLED/pyvenv.cfg"
chmod 755 ".$INSTALLED/bin/inotify-bridge"
mkdir -p ".$INSTALLED/source/inotify_bridge" old etc/inotify-bridge
mount --bind "$PACKAGES" "$(echo .$INSTALLED/lib/python3.*/site-packages)"
mount --bind "$SOURCE/inotify_bridge" ".$INSTALLED/source/inotify_bridge"
ip link set lo up
rm -rf var/log/journal
pivot_root . old
umount -l /old
mount --make-rshared /
exec env -i container=test PATH=/usr/sbin:/usr/bin:/sbin:/bin "$SYSTEMD" --system --unit=test.target \\
    --show-status=no
"""


def lacking() -> str:
    """Why no such machine can be made here, or empty."""
    if os.geteuid() != 0:
        return "root is needed"
    for program in (_SYSTEMD, _PYTHON, "unshare", "nsenter", "ip"):
        if shutil.which(program) is None:
            return f"{program} is not installed"
    version = subprocess.run([_PYTHON, "-c", _VERSION], capture_output=True, text=True, check=True).stdout
    if version.strip() != sysconfig.get_python_version():
        return f"{_PYTHON} is another Python than the suite's, whose packages it is to use"
    return "" if _tree() else "there is no cgroup v2 tree"


def _tree() -> Path | None:
    return next((tree for tree in _TREES if (tree / "cgroup.procs").exists()), None)


class Machine:
    """
    Has the unit, its user and the program installed, as docs/systemd.md says, and no configuration.

    Args:
        directory: an empty one.
    """

    def __init__(self, directory: Path) -> None:
        tree = _tree()
        assert tree is not None
        self._group = tree / f"inotify-bridge-test-{os.getpid()}"
        self._place = directory / "machine"
        self._files = directory / "files"
        self._log = directory / "log"

    def __enter__(self) -> Self:
        self._place.mkdir()
        self._lay_out()
        self._group.mkdir()
        enter = f"echo $$ > {shlex.quote(os.fspath(self._group / 'cgroup.procs'))}; exec "
        unshare = "unshare --mount --pid --fork --cgroup --uts --ipc --net --kill-child sh -c "
        with self._log.open("wb") as log:
            self._keeper = subprocess.Popen(
                ["sh", "-c", enter + unshare + shlex.quote(_BEGIN)],
                env={**os.environ, **self._variables()},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        try:
            eventually(self._runs, within=60, what="systemd runs", poll=0.1)
            self.run("systemd-sysusers")
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def run(self, *command: str) -> str:
        """Run a command on it; its output. Raises: CalledProcessError."""
        return self.tried(*command, check=True).stdout

    def tried(self, *command: str, check: bool = False) -> subprocess.CompletedProcess[str]:
        """Run a command on it, however that ends."""
        enter = ["nsenter", f"--target={self._first()}", "--all"]
        return subprocess.run([*enter, *command], capture_output=True, text=True, timeout=100, check=check)

    def write(self, path: str, text: str) -> None:
        """Write a file on it."""
        place = Path(f"/proc/{self._first()}/root{path}")
        self.run("mkdir", "-p", os.path.dirname(path))
        place.write_text(text)

    def drop_in(self, name: str, text: str) -> None:
        """Change the unit."""
        self.write(f"{DROP_INS}/{name}.conf", f"[Service]\n{text}")
        self.run("systemctl", "daemon-reload")

    def shown(self, name: str) -> str:
        """A property of the service."""
        return self.run("systemctl", "show", "--value", f"--property={name}", UNIT).strip()

    def _lay_out(self) -> None:
        units = self._files / "etc" / "systemd" / "system"
        users = self._files / "etc" / "sysusers.d"
        program = self._files / INSTALLED.lstrip("/") / "bin" / "inotify-bridge"
        for directory in (units / f"{UNIT}.d", users, program.parent):
            directory.mkdir(parents=True)
        shutil.copy(ROOT / "systemd" / UNIT, units)
        shutil.copy(ROOT / "systemd" / "inotify-bridge.sysusers", users / "inotify-bridge.conf")
        (units / "test.target").write_text(_TARGET)
        descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[1]  # more than that this root may not give
        (units / f"{UNIT}.d" / "limit.conf").write_text(f"[Service]\nLimitNOFILE={descriptors}\n")
        program.write_text(_PROGRAM)

    def _variables(self) -> dict[str, str]:
        return {
            "PLACE": os.fspath(self._place),
            "FILES": os.fspath(self._files),
            "PYTHON": _PYTHON,
            "INSTALLED": INSTALLED,
            "PACKAGES": sysconfig.get_path("purelib"),
            "SOURCE": os.fspath(ROOT),
            "SYSTEMD": _SYSTEMD,
        }

    def _first(self) -> int:
        """Its PID 1, as it is called here."""
        children = Path(f"/proc/{self._keeper.pid}/task/{self._keeper.pid}/children").read_text()
        return int(children.split()[0])

    def _runs(self) -> bool:
        assert self._keeper.poll() is None, self._log.read_text()
        try:
            name = Path(f"/proc/{self._first()}/comm").read_text().strip()
        except (OSError, IndexError):
            return False
        return name == "systemd" and self.tried("systemctl", "is-system-running").stdout.strip() == "running"

    def _end(self) -> None:
        self._keeper.kill()
        self._keeper.wait()
        eventually(self._removed, within=30, what="its cgroups are empty", poll=0.1)

    def _removed(self) -> bool:
        done = subprocess.run(
            ["find", self._group, "-depth", "-type", "d", "-exec", "rmdir", "{}", ";"],
            capture_output=True,
            check=False,
        )
        return done.returncode == 0 and not self._group.exists()
