"""The test suite; a package, so that tests import their parts as `tests.…`."""
