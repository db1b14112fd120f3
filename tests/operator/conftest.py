"""Agents and trees for the tests of operators."""

from tests.agent.conftest import launch, scratch, trees

__all__ = ["launch", "scratch", "trees"]
