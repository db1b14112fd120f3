"""Agents and trees for the tests of monitoring."""

from __future__ import annotations

from tests.agent.conftest import launch, scratch, trees

__all__ = ["launch", "scratch", "trees"]
