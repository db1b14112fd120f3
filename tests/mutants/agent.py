"""Mutants of what chains the parts: the recorder, the relays, and what restarts them."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from tests.mutants.mutant import Mutant
from tests.mutants.patching import Patch

_RELAY = "tests/outbox/test_relay.py"
_COMMITS = "tests/promises/test_commits.py"


def _published_before_commit(patch: Patch) -> None:
    """Relays get a batch before its commit is through."""
    from inotify_bridge.books import Books
    from inotify_bridge.sinks.base import Message

    @patch.instead_of(Books, "_commit")
    def commit(original: Any, self: Any, records: list[bytes], *rest: Any) -> Any:
        self._committed(self.store.epoch, [Message.unpack(record) for record in records])
        return original(self, records, *rest)


def _failed_commit_dropped(patch: Patch) -> None:
    """A batch that cannot be committed is given up without a word."""
    from inotify_bridge.errors import StoreError
    from inotify_bridge.outbox.store import Store

    @patch.instead_of(Store, "commit")
    def commit(original: Any, self: Any, *arguments: Any, **named: Any) -> None:
        with suppress(StoreError):
            original(self, *arguments, **named)


def _heartbeat_without_number(patch: Patch) -> None:
    """A heartbeat takes the number of the message before it."""
    from inotify_bridge.books import Books

    @patch.instead_of(Books, "_message")
    def message(original: Any, self: Any, item: Any, sequence: int) -> Any:
        return original(self, item, sequence - 1 if item.kind == "heartbeat" else sequence)


def _death_unnoticed(patch: Patch) -> None:
    """A recorder that dies tells nobody: the group looks alive and says nothing any more."""
    from inotify_bridge.group import Group

    @patch.instead_of(Group, "restart")
    def restart(original: Any, self: Any) -> None:
        """Nothing is built anew."""


def _silent_restart(patch: Patch) -> None:
    """What changed while the agent was down goes into the index, and nobody is told."""
    from inotify_bridge.capture.reconciler import Reconciler

    @patch.instead_of(Reconciler, "start")
    def start(original: Any, self: Any, reason: str = "start") -> None:
        original(self, reason)
        self._model.silent = self._model.silent or reason == "restart"


def _epoch_not_announced(patch: Patch) -> None:
    """A new epoch begins without saying so: a consumer keeps what it held of the old one."""
    from inotify_bridge.books import Books
    from inotify_bridge.capture.change import Notice

    @patch.instead_of(Books, "_message")
    def message(original: Any, self: Any, item: Any, sequence: int) -> Any:
        if item.kind == "started":
            item = Notice(item.kind, item.time, item.path, {**item.data, "new_epoch": False})
        return original(self, item, sequence)


def _watermark_ahead(patch: Patch) -> None:
    """The watermark is written down when messages are handed to the sink, before it has confirmed any."""
    from inotify_bridge.outbox.journal import Position
    from inotify_bridge.outbox.relay import Relay

    @patch.instead_of(Relay, "_publish")
    def publish(original: Any, self: Any, batch: list[Any]) -> Any:
        self._recorder.acknowledge(self._name, Position(self._status.position.epoch, batch[-1].sequence))
        return original(self, batch)


def _selective_resend(patch: Patch) -> None:
    """After a nack only what was nacked is sent again, not what stands behind it."""
    from inotify_bridge.outbox.journal import Position
    from inotify_bridge.outbox.relay import Relay
    from inotify_bridge.sinks.base import Verdict

    @patch.instead_of(Relay, "_deliver")
    def deliver(original: Any, self: Any, epoch: str, batch: list[Any]) -> None:
        left = batch
        while left:
            outcomes = self._publish(left)
            pairs = zip(left, outcomes, strict=True)
            left = [message for message, outcome in pairs if outcome.verdict is not Verdict.ACCEPTED]
        self._confirm(Position(epoch, batch[-1].sequence), batch, 0.0)


def _parked_leaves_hole(patch: Patch) -> None:
    """Nothing takes the place of a message that was parked."""
    from inotify_bridge.outbox.relay import PARKED_KIND, Relay

    @patch.instead_of(Relay, "_read")
    def read(original: Any, self: Any, reader: Any) -> Any:
        epoch, batch = original(self, reader)
        return epoch, [message for message in batch if message.kind != PARKED_KIND]


def _parked_forgotten(patch: Patch) -> None:
    """A message that no broker takes is passed over, and kept nowhere."""
    from inotify_bridge.outbox.relay import Relay
    from inotify_bridge.sinks.base import ACCEPTED, Verdict

    @patch.instead_of(Relay, "_publish")
    def publish(original: Any, self: Any, batch: list[Any]) -> Any:
        outcomes = original(self, batch)
        return [ACCEPTED if one.verdict is Verdict.REJECTED else one for one in outcomes]


def _offers_jump_ahead(patch: Patch) -> None:
    """What the recorder offers is sent at once, also where something before it is still in the journal."""
    from inotify_bridge.outbox.relay import Relay

    @patch.instead_of(Relay, "_at_hand")
    def at_hand(original: Any, self: Any) -> Any:
        return self._offered.popleft() if self._offered else None


def _parked_sent_again(patch: Patch) -> None:
    """What was offered before a message was parked is sent after it, the message itself under its number."""
    from inotify_bridge.outbox.relay import Relay

    @patch.instead_of(Relay, "_park")
    def park(original: Any, self: Any, *arguments: Any) -> None:
        offered = list(self._offered)
        original(self, *arguments)
        self._offered.extend(offered)


def _stop_waits(patch: Patch) -> None:
    """A stop that comes just before a wait is not heard by it: the last attempt is never made."""
    from inotify_bridge.outbox.relay import Relay

    @patch.instead_of(Relay, "_back_off")
    def back_off(original: Any, self: Any) -> None:
        self._hurried = self._stopping.is_set()
        original(self)


def _offers_unbounded(patch: Patch) -> None:
    """A relay keeps everything that it is offered, also while its broker takes nothing."""
    from inotify_bridge.outbox.relay import Relay

    @patch.instead_of(Relay, "offer")
    def offer(original: Any, self: Any, epoch: str, messages: list[Any]) -> None:
        self._offered.append((epoch, messages))
        self._news.set()


def _missing_batch_passed_over(patch: Patch) -> None:
    """A batch that could not be recorded counts as recorded: the barriers behind it pass."""
    from inotify_bridge.recorder import Recorder

    @patch.instead_of(Recorder, "_record")
    def record(original: Any, self: Any, batch: Any, *found: Any) -> bool:
        original(self, batch, *found)
        return True


def _failed_restart_hidden(patch: Patch) -> None:
    """Threads that cannot be begun anew are missed by nobody: status and /livez say that all is well."""
    from inotify_bridge.group import Group

    @patch.instead_of(Group, "_failed_to_run")
    def failed_to_run(original: Any, self: Any, error: BaseException) -> None:
        """Nobody is told."""


def _subject_not_compared(patch: Patch) -> None:
    """A start goes on in the epoch there is, whatever became of the configuration meanwhile."""
    from inotify_bridge import epochs

    @patch.instead_of(epochs, "_goes_on")
    def goes_on(original: Any, *arguments: Any) -> bool:
        return True


def _slip_reloaded(patch: Patch) -> None:
    """A reload takes a path where nothing is: the replicas of a running group are emptied by a slip."""
    from inotify_bridge import reload

    @patch.instead_of(reload, "_missing")
    def missing(original: Any, *arguments: Any) -> list[str]:
        return []


MUTANTS = (
    Mutant(
        "published before the commit",
        "R4",
        _published_before_commit,
        f"{_COMMITS}::test_nothing_is_published_while_commits_fail",
    ),
    Mutant(
        "failed commit dropped",
        "R15",
        _failed_commit_dropped,
        f"{_COMMITS}::test_nothing_is_published_while_commits_fail",
    ),
    Mutant(
        "heartbeat without a number of its own",
        "R5",
        _heartbeat_without_number,
        "tests/promises/test_numbers.py::test_heartbeats_have_numbers_of_their_own",
    ),
    Mutant(
        "new epoch not announced",
        "R8",
        _epoch_not_announced,
        "tests/promises/test_numbers.py::test_an_epoch_says_that_it_begins",
    ),
    Mutant(
        "dead thread unnoticed",
        "R2",
        _death_unnoticed,
        "tests/agent/test_supervision.py::test_dead_thread_is_replaced[kill_recorder]",
    ),
    Mutant(
        "failed restart hidden",
        "R2",
        _failed_restart_hidden,
        "tests/state/test_owners.py::test_no_instance_for_the_next_threads",
    ),
    Mutant(
        "missing batch passed over",
        "R20",
        _missing_batch_passed_over,
        "tests/state/test_unrecorded.py::test_barrier_of_a_batch_that_is_missing",
    ),
    Mutant(
        "subject not compared at a start",
        "R14",
        _subject_not_compared,
        "tests/state/test_epochs.py::test_changed_while_it_is_down",
    ),
    Mutant(
        "slip of a path reloaded",
        "R12",
        _slip_reloaded,
        "tests/operator/test_reload.py::test_refused",
    ),
    Mutant(
        "silent restart",
        "R14",
        _silent_restart,
        "tests/agent/test_restart.py::test_changes_while_it_was_down[rabbitmq-SIGKILL]",
    ),
    Mutant(
        "watermark ahead of confirm",
        "R7",
        _watermark_ahead,
        f"{_RELAY}::test_watermark_never_passes_a_hole",
    ),
    Mutant("selective re-send", "R6", _selective_resend, f"{_RELAY}::test_nack_goes_back"),
    Mutant(
        "parked message leaves a hole",
        "R3",
        _parked_leaves_hole,
        f"{_RELAY}::test_rejected_is_parked_and_replaced",
    ),
    Mutant(
        "parked message forgotten",
        "R2",
        _parked_forgotten,
        f"{_RELAY}::test_rejected_is_parked_and_replaced",
    ),
    Mutant(
        "parked message sent again",
        "R5",
        _parked_sent_again,
        "tests/promises/test_parking.py::test_what_was_offered_before_is_not_sent_after",
    ),
    Mutant(
        "stop not heard",
        "R6",
        _stop_waits,
        "tests/promises/test_stops.py::test_a_stop_between_a_failure_and_its_wait",
    ),
    Mutant(
        "offers unbounded",
        "R13",
        _offers_unbounded,
        "tests/promises/test_bounds.py::test_a_relay_that_waits_keeps_few_messages",
    ),
    Mutant(
        "offers jump ahead",
        "R3",
        _offers_jump_ahead,
        "tests/outbox/test_relay_offers.py::test_offered_messages_come_in_order_whatever_was_not_offered",
    ),
)
