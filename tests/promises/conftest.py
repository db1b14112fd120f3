"""What is watched."""

from tests.agent.conftest import trees

__all__ = ["trees"]
