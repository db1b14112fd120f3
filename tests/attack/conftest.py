"""The ground and the pace of the tests on the real kernel."""

from tests.kernel.conftest import disk_ground, lagging

__all__ = ["disk_ground", "lagging"]
