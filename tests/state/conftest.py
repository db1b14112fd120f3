"""The trees, agents and brokers of the tests of the whole."""

from tests.agent.conftest import launch, place, scratch, trees

__all__ = ["launch", "place", "scratch", "trees"]
