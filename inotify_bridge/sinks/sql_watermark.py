"""
How far a database holds a stream, in the database itself.

The watermark moves in the transaction that stores the rows. So after a commit of which nobody knows whether
it happened the database says it, and a message that is sent again is known by its number. Its row is changed
first and stays locked until the end: of two connections that write the same stream one waits for the other,
and then finds the row changed.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, Connection, MetaData, Table, and_, insert, select, update
from sqlalchemy.exc import IntegrityError

from inotify_bridge.errors import SinkMisconfigured, SinkUnavailable
from inotify_bridge.sinks.base import SinkContext
from inotify_bridge.sinks.sql_rows import KEY_TEXT
from inotify_bridge.sinks.sql_tables import make

_TABLE: Final = Table(
    "inotify_bridge_watermarks",
    MetaData(),
    Column("source", KEY_TEXT, primary_key=True),
    Column("sink", KEY_TEXT, primary_key=True),
    Column("epoch", KEY_TEXT, nullable=False),
    Column("sequence", BigInteger, nullable=False),
)

Place = tuple[str, int]
"""Epoch and sequence: compares as streams do."""

NOTHING: Final[Place] = ("", 0)


class Watermark:
    """
    The row of one (source, sink).

    Args:
        context: the pair that the sink serves.
        place: the database, for messages.
    """

    def __init__(self, context: SinkContext, place: str) -> None:
        self._own = and_(_TABLE.c.source == context.source, _TABLE.c.sink == context.name)
        self._key = {"source": context.source, "sink": context.name}
        self._place = place

    def prepare(self, connection: Connection, create: bool) -> None:
        """Make the table and the row where they are not there. Raises: SinkMisconfigured, DBAPIError."""
        make(connection, _TABLE, create, self._place)
        if connection.execute(select(_TABLE.c.epoch).where(self._own)).first() is None:
            try:
                with connection.begin_nested():
                    row = {**self._key, "epoch": NOTHING[0], "sequence": NOTHING[1]}
                    connection.execute(insert(_TABLE).values(row))
            except IntegrityError:
                return  # another connection was first

    def read(self, connection: Connection) -> Place:
        """
        Where the stream stands. Waits for a transaction that is changing it: what a connection that was lost
        had under way is then committed or gone.
        """
        wanted = select(_TABLE.c.epoch, _TABLE.c.sequence).where(self._own).with_for_update()
        row = connection.execute(wanted).first()
        if row is None:
            raise SinkMisconfigured(
                f"{self._place}: the row of this stream in {_TABLE.name} is gone",
                "leave that table alone: it tells what is stored already",
                "not_found",
            )
        return row.epoch, row.sequence

    def move(self, connection: Connection, before: Place, after: Place) -> None:
        """
        Move it, where it stands as it was left.

        Raises:
            SinkUnavailable: somebody else has moved it.
        """
        here = and_(self._own, _TABLE.c.epoch == before[0], _TABLE.c.sequence == before[1])
        changed = connection.execute(update(_TABLE).where(here).values(epoch=after[0], sequence=after[1]))
        if changed.rowcount != 1:
            raise SinkUnavailable(
                f"{self._place}: another connection has written this stream",
                "if that goes on: two agents have the same source, and a sink of the same name",
                "other",
            )
