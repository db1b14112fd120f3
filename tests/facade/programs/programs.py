"""The programs by their names, and the Pythons that they run on."""

from __future__ import annotations

from types import ModuleType

from tests.facade.programs import fail2ban, livereload, oslo_log, pyinotifyd

PROGRAMS: dict[str, ModuleType] = {
    "fail2ban": fail2ban,
    "livereload": livereload,
    "oslo.log": oslo_log,
    "pyinotifyd": pyinotifyd,
}

VERSIONS = dict.fromkeys(PROGRAMS, ("3.12", "3.13", "3.14")) | {"pyinotifyd": ("3.12", "3.13")}
