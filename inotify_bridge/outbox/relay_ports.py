"""What a relay asks of others: the recorder of its group, and whoever counts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from inotify_bridge.outbox.comparison import Comparison
from inotify_bridge.outbox.journal import Position
from inotify_bridge.sinks.base import Message, Outcome


class Recorder(Protocol):
    """What a relay asks of the recorder of its group. Called on the relay's thread."""

    def acknowledge(self, sink: str, position: Position) -> None:
        """Post that the sink has confirmed everything up to and with `position`. Returns at once."""

    def park(self, sink: str, position: Position, message: Message, outcome: Outcome) -> None:
        """
        Put a `stream.event_parked` in the place of a message that the sink will never take.

        Returns when it is committed: from then on the relay's reader gets the replacement.

        Raises:
            UnavailableError: the recorder has ended; the message stays unconfirmed.
        """


class Guards(NamedTuple):
    """
    What keeps a relay from publishing what must not be published. Called on the relay's thread.

    Args:
        check: called before every `publish`; raises StoreError where nothing may be published any more.
        end: where the next message will come; None: nothing is compared with what the sink holds.
        ahead: called with an epoch before anything is sent, where the sink holds a message of it that the
            journal does not have: begins a later one, and says where to `skip` to. May raise
            SinkUnavailable.
        comparison: of the group, which says what may be sent before all of its sinks were compared.
    """

    check: Callable[[], None] = lambda: None
    end: Callable[[], Position] | None = None
    ahead: Callable[[str], None] = lambda _: None
    comparison: Comparison = Comparison()


class RelayObserver(Protocol):
    """Where a relay counts and times. Called on the relay's thread; must return at once."""

    def connected(self, up: bool) -> None:
        """The connection came up or went away."""

    def connects(self) -> None:
        """A connection was made."""

    def sent(self, count: int, size: int) -> None:
        """So many messages with bodies of so many bytes are handed to the sink, repeats included."""

    def acked(self, messages: Sequence[Message], seconds: float) -> None:
        """These were confirmed, and everything before them; the `publish` took so long."""

    def retried(self, count: int) -> None:
        """So many messages will be sent again."""

    def error(self, reason: str) -> None:
        """Something failed; one of `errors.SINK_ERROR_REASONS`."""

    def parked(self, count: int) -> None:
        """So many messages were parked."""

    def set_aside(self, count: int) -> None:
        """The sink holds so many messages apart from the others, because their places refused them."""

    def inflight(self, count: int) -> None:
        """So many messages are with the sink now, unconfirmed."""
