"""A load that never ends does not keep the agent from what is due."""

from __future__ import annotations

import os

import pytest

from inotify_bridge.capture.notifier import Inbox
from tests.kernel.embedded import Embedded
from tests.kernel.watching import Ground
from tests.waiting import eventually


def test_what_is_due_comes_under_endless_load(disk_ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    """While there are always more reads waiting, a root that was moved away is told of all the same."""
    with Embedded(disk_ground) as agent:
        asked: list[int] = []

        def more(_: Inbox) -> bool:
            asked.append(1)
            return True

        with monkeypatch.context() as patch:
            patch.setattr(Inbox, "waiting", more)
            os.rename(disk_ground.watched, disk_ground.outside / "away")
            eventually(lambda: agent.seen().notices("root_lost"), what="the lost root")
        assert asked
