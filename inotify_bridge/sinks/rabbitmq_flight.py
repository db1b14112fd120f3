"""One batch on its way: what is sent, what the broker has said about it. No pika, no thread, no clock."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from inotify_bridge.sinks.base import ACCEPTED, Message, Outcome, Verdict


class Flight:
    """
    Keeps a batch within its window and collects the verdicts. Used by one thread at a time.

    After the first refusal nothing more is sent: whatever stood behind it would arrive out of order.

    Args:
        batch: what to send, in order.
        window: most messages that may be unconfirmed.
        first_tag: the delivery tag that the broker gives to the first message.
    """

    def __init__(self, batch: Sequence[Message], window: int, first_tag: int) -> None:
        self._batch = batch
        self._window = window
        self._first_tag = first_tag
        self._verdicts: list[Outcome | None] = [None] * len(batch)
        self._sent = 0
        self._lowest = 0  # everything before it has its verdict
        self._unconfirmed = 0
        self._refusal: Outcome | None = None

    @property
    def sent(self) -> int:
        """Messages handed out so far."""
        return self._sent

    @property
    def unconfirmed(self) -> int:
        """Messages sent without a verdict."""
        return self._unconfirmed

    @property
    def begun(self) -> bool:
        """True when at least the first message has its verdict."""
        return self._lowest > 0

    @property
    def finished(self) -> bool:
        """True when everything sent has its verdict and nothing more is to be sent."""
        return not self._unconfirmed and (self._refusal is not None or self._sent == len(self._batch))

    def due(self) -> Sequence[Message]:
        """What is to be sent now; in a full window it waits for an eighth of it, to write many at once."""
        if self._refusal is not None:
            return ()
        room = min(self._window - self._unconfirmed, len(self._batch) - self._sent)
        if room < min(max(1, self._window // 8), len(self._batch) - self._sent):
            return ()
        return self._batch[self._sent : self._sent + room]

    def sending(self) -> None:
        """The next due message goes out."""
        self._sent += 1
        self._unconfirmed += 1

    def reject(self, outcome: Outcome) -> None:
        """The next due message will never go out."""
        self._verdicts[self._sent] = outcome
        self._refusal = outcome

    def confirm(self, tag: int, multiple: bool, outcome: Outcome = ACCEPTED) -> None:
        """
        The broker's word on a message, or on all up to it.

        Tags of an earlier batch are ignored: the confirm that follows a returned message comes late.
        """
        place = tag - self._first_tag
        for at in range(self._lowest if multiple else place, place + 1):
            self._settle(at, outcome)

    def give_back(self, message_id: bytes, outcome: Outcome) -> None:
        """The broker returned a message: an acceptance follows, which then counts no more."""
        needle = b'"id":"' + message_id + b'"'
        for at in range(self._lowest, self._sent):
            if self._verdicts[at] is None and needle in self._batch[at].body:
                self._settle(at, outcome)
                return

    def abandon(self, judge: Callable[[Message], Outcome]) -> None:
        """The channel closed: every message without a verdict gets the one that `judge` gives."""
        for at in range(self._lowest, self._sent):
            if self._verdicts[at] is None:
                self._settle(at, judge(self._batch[at]))

    def outcomes(self) -> list[Outcome]:
        """One verdict a message; what was held back is to be sent again."""
        reason = self._refusal.reason if self._refusal is not None else "other"
        held_back = Outcome(Verdict.RETRY, reason, "held back behind a refused message")
        return [verdict or held_back for verdict in self._verdicts]

    def _settle(self, at: int, outcome: Outcome) -> None:
        if not self._lowest <= at < self._sent or self._verdicts[at] is not None:
            return
        self._verdicts[at] = outcome
        self._unconfirmed -= 1
        if self._refusal is None and outcome.verdict is not Verdict.ACCEPTED:
            self._refusal = outcome
        while self._lowest < self._sent and self._verdicts[self._lowest] is not None:
            self._lowest += 1
