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


def _wrong_place_shown(patch: Patch) -> None:
    """The problems of a configuration repeat what stands at a key that may hold a secret."""
    from inotify_bridge.config import problems

    @patch.instead_of(problems, "is_secret")
    def is_secret(original: Any, place: Any) -> bool:
        return False


def _token_to_whoever_listens(patch: Patch) -> None:
    """The agent's token goes along with every question, to whoever has taken its port on loopback."""
    from inotify_bridge.cli.connection import Target

    @patch.instead_of(Target, "headers")
    def headers(original: Any, self: Any, path: str) -> dict[str, str]:
        told: dict[str, str] = original(self._replace(open=False), path)
        return told


def _slow_clients_kept(patch: Patch) -> None:
    """Whoever does not come to the end of a request keeps its place: a few shut out all others."""
    from inotify_bridge.web.connections import Listener

    @patch.instead_of(Listener, "_drop")
    def drop(original: Any, self: Any, now: float) -> None:
        """Nobody has to go."""


def _password_for_signals(patch: Patch) -> None:
    """What a browser sends by itself is a token for signals too: the page of another site can give them."""
    from inotify_bridge.web import app

    @patch.instead_of(app, "given_token")
    def given_token(original: Any, authorization: str, password: bool) -> Any:
        return original(authorization, True)


def _markup_of_names(patch: Patch) -> None:
    """What stands in names and errors goes into the status page as it is."""
    from inotify_bridge.web import html

    @patch.instead_of(html, "escape")
    def escape(original: Any, words: str) -> str:
        return words


MUTANTS = (
    Mutant(
        "raw name in a log line",
        "R17",
        _raw_name_in_log,
        "tests/test_log.py::test_hostile_names_stay_on_their_line",
    ),
    Mutant(
        "markup of names in the page",
        "R17",
        _markup_of_names,
        "tests/web/test_app.py::test_hostile_names_stay_text",
    ),
    Mutant("name not given back", "R17", _raw_name_in_events, "tests/events/test_names.py::test_round_trip"),
    Mutant(
        "secret in a repr",
        "R19",
        _secret_shown,
        "tests/sinks/test_rabbitmq_options.py::test_password_is_never_shown",
    ),
    Mutant(
        "secret in a wrong place shown",
        "R19",
        _wrong_place_shown,
        "tests/config/test_secrets.py::test_a_value_in_a_wrong_place_is_not_shown",
    ),
    Mutant(
        "token to whoever listens",
        "R19",
        _token_to_whoever_listens,
        "tests/config/test_target.py::test_the_token_goes_where_it_is_needed",
    ),
    Mutant(
        "password for signals",
        "R19",
        _password_for_signals,
        "tests/operator/test_http.py::test_no_signal_for_a_password",
    ),
    Mutant(
        "slow clients kept",
        "R13",
        _slow_clients_kept,
        "tests/web/test_server.py::test_slow_clients_shut_nobody_out",
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
