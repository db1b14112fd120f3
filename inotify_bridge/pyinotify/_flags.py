"""The tables of flags: what is an event, what only qualifies one, and the names of both."""

from __future__ import annotations

from typing import ClassVar

from inotify_bridge.capture import constants

_OPERATIONS = (
    "IN_ACCESS IN_MODIFY IN_ATTRIB IN_CLOSE_WRITE IN_CLOSE_NOWRITE IN_OPEN"
    " IN_MOVED_FROM IN_MOVED_TO IN_CREATE IN_DELETE IN_DELETE_SELF IN_MOVE_SELF"
)
_FROM_KERNEL = "IN_UNMOUNT IN_Q_OVERFLOW IN_IGNORED"
_SPECIAL = "IN_ONLYDIR IN_DONT_FOLLOW IN_EXCL_UNLINK IN_MASK_ADD IN_ISDIR IN_ONESHOT"

ALL_EVENTS = 0xFFF
"""Every operation: all of `EventsCodes.OP_FLAGS`."""


def _table(names: str) -> dict[str, int]:
    return {name: getattr(constants, name) for name in names.split()}


class EventsCodes:
    """The flags by name and by value. ``EventsCodes.IN_*`` exist after `compatibility_mode` only."""

    OP_FLAGS: ClassVar[dict[str, int]] = _table(_OPERATIONS)
    EVENT_FLAGS: ClassVar[dict[str, int]] = _table(_FROM_KERNEL)
    SPECIAL_FLAGS: ClassVar[dict[str, int]] = _table(_SPECIAL)
    FLAG_COLLECTIONS: ClassVar[dict[str, dict[str, int]]] = {
        "OP_FLAGS": OP_FLAGS,
        "EVENT_FLAGS": EVENT_FLAGS,
        "SPECIAL_FLAGS": SPECIAL_FLAGS,
    }
    ALL_FLAGS: ClassVar[dict[str, int]] = {
        **OP_FLAGS,
        **EVENT_FLAGS,
        **SPECIAL_FLAGS,
        "ALL_EVENTS": ALL_EVENTS,
    }
    ALL_VALUES: ClassVar[dict[int, str]] = {value: name for name, value in ALL_FLAGS.items()}

    @staticmethod
    def maskname(mask: int) -> str:
        """
        The name of one event, with ``|IN_ISDIR`` where that bit is set.

        Raises:
            KeyError: no single event has this mask.
        """
        if mask & constants.IN_ISDIR:
            return f"{EventsCodes.ALL_VALUES[mask - constants.IN_ISDIR]}|IN_ISDIR"
        return EventsCodes.ALL_VALUES[mask]
