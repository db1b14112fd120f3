"""
Runs scripts on one side: ``python -m tests.facade.differential.side SCRATCH OUT``.

`pyinotify` is imported once and every script is a fork of that: no script sees what another has left in the
module. Writes what they recorded as JSON.
"""

# mypy: ignore-errors

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import sys
import traceback

import tests.facade.differential as programs
from tests.facade.differential.scene import SCRIPTS, Scene

AT_ONCE = 6


def collect() -> None:
    """Import every module of scripts."""
    for module in pkgutil.iter_modules(programs.__path__):
        if module.name.startswith("scripts_"):
            importlib.import_module(f"{programs.__name__}.{module.name}")


def start(name: str, scratch: str) -> int:
    """One script in a process of its own; its pid."""
    directory = os.path.join(scratch, name, "t")
    os.makedirs(directory)
    sys.stdout.flush()
    child = os.fork()
    if not child:
        _in_child(name, directory, os.path.join(scratch, name, "records"))
    return child


def run(names: list[str], scratch: str) -> dict[str, list[dict[str, object]]]:
    """Several scripts at a time: most of them wait more than they work."""
    found, running, waiting = {}, {}, list(reversed(names))
    while waiting or running:
        while waiting and len(running) < AT_ONCE:
            name = waiting.pop()
            running[start(name, scratch)] = name
        pid, status = os.wait()
        name = running.pop(pid)
        found[name] = _records(os.path.join(scratch, name, "records"), os.waitstatus_to_exitcode(status))
    return {name: found[name] for name in names}


def _records(out: str, code: int) -> list[dict[str, object]]:
    """What a script recorded; how it ended, where that was not well."""
    if code or not os.path.exists(out):
        return [{"kind": "broken", "broken": f"the script ended with {code}"}]
    with open(out) as file:
        return json.load(file)


def _in_child(name: str, directory: str, out: str) -> None:
    scene = Scene(os.path.realpath(directory))
    try:
        SCRIPTS[name](scene)
    except BaseException:
        traceback.print_exc()
        scene.add("broken", broken=traceback.format_exc(limit=-1).splitlines()[-1])
    with open(f"{out}.new", "w") as file:
        json.dump(scene.records, file)
    os.rename(f"{out}.new", out)
    sys.stdout.flush()
    os._exit(0)


def main() -> None:
    """All scripts, in the order of their names."""
    scratch, out = sys.argv[1:]
    collect()
    found = run(sorted(SCRIPTS), scratch)
    with open(out, "w") as file:
        json.dump(found, file)


if __name__ == "__main__":
    main()
