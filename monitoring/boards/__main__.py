"""Writes the boards into ``monitoring/dashboards/``."""

from __future__ import annotations

from pathlib import Path

from monitoring.boards import boards

for name, text in boards():
    (Path(__file__).parents[1] / "dashboards" / name).write_text(text)
