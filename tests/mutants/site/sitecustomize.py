"""Imported by Python at the start of every process that has this directory in PYTHONPATH."""

from __future__ import annotations

import os

from tests.mutants import injection

if name := os.environ.get(injection.MUTANT):
    injection.inject(name)
