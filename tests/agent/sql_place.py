"""Where an agent stores in a test: a table of its own, in which every event stands as it was published."""

from __future__ import annotations

import json
from typing import Any

from tests.agent.arrivals import Arrival, Arrivals
from tests.sinks.sql_harness import SqlHarness


def sql_sink(harness: SqlHarness) -> dict[str, Any]:
    """The sink in the agent's configuration; the table has to be there."""
    columns = {"body": "envelope"}
    return {"name": "sink", "type": "sql", "url": harness.url, "table": harness.name, "columns": columns}


def stored(harness: SqlHarness) -> Arrivals:
    """What the table holds, in the order in which it was stored."""
    rows = harness.rows(f"SELECT body FROM {harness.name} ORDER BY number")
    return Arrivals(Arrival(0, body.encode(), json.loads(body)) for (body,) in rows)
