"""Mutants of the product's edges: names, the log, secrets, and what consumers check."""

from __future__ import annotations

from typing import Any

from tests.mutants.mutant import Mutant
from tests.mutants.patching import Patch


def _raw_name_in_log(patch: Patch) -> None:
    """A name goes into the log as it is, with its line breaks and escape sequences."""
    from inotify_bridge import log

    @patch.instead_of(log, "escaped")
    def escaped(original: Any, text: str) -> str:
        return text


def _raw_name_in_events(patch: Patch) -> None:
    """A name that is not UTF-8 goes out with question marks in it: two names share a text."""
    from inotify_bridge.events import names

    @patch.instead_of(names, "encode")
    def encode(original: Any, name: bytes) -> str:
        return str(original(name.decode("utf-8", "replace").encode()))


def _secret_shown(patch: Patch) -> None:
    """A password is held as plain text: every repr shows it."""
    from pydantic import SecretStr

    @patch.instead_of(SecretStr, "_display")
    def display(original: Any, self: Any) -> Any:
        return self.get_secret_value()


def _digest_not_checked(patch: Patch) -> None:
    """A replica that differs from the sender's tree is taken for good."""
    from inotify_bridge.subscribe.replica import Replica

    @patch.instead_of(Replica, "_check")
    def check(original: Any, self: Any, event: Any) -> None:
        """Whatever the digest says."""


def _early_applied(patch: Patch) -> None:
    """A consumer applies what comes over a hole, and takes the late messages as repeats."""
    from inotify_bridge.subscribe.gap import Decision, GapDetector

    @patch.instead_of(GapDetector, "offer")
    def offer(original: Any, self: Any, event: Any) -> Any:
        decision = original(self, event)
        return Decision.APPLY if decision is Decision.WAIT else decision


MUTANTS = (
    Mutant(
        "raw name in a log line",
        "R17",
        _raw_name_in_log,
        "tests/test_log.py::test_hostile_names_stay_on_their_line",
    ),
    Mutant("name not given back", "R17", _raw_name_in_events, "tests/events/test_names.py::test_round_trip"),
    Mutant(
        "secret in a repr",
        "R19",
        _secret_shown,
        "tests/sinks/test_rabbitmq_options.py::test_password_is_never_shown",
    ),
    Mutant(
        "digest not checked",
        "R8",
        _digest_not_checked,
        "tests/subscribe/test_consumer.py::test_wrong_digest",
    ),
    Mutant(
        "early message applied",
        "R8",
        _early_applied,
        "tests/subscribe/test_gap.py::test_rule",
    ),
)
