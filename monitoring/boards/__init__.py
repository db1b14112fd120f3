"""
The Grafana boards as code: ``python -m monitoring.boards`` writes them into ``monitoring/dashboards/``.

One module is one board; `panels` and `frame` hold what they share, `series` the matchers of every query.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from monitoring.boards import overview, sink, watch_group


def boards() -> Iterator[tuple[str, str]]:
    """File name and contents (JSON) of every board."""
    for name, board in (
        ("overview.json", overview.board()),
        ("watch-group.json", watch_group.board()),
        ("sink.json", sink.board()),
    ):
        yield name, json.dumps(board.build(), cls=JSONEncoder, indent=2, ensure_ascii=False) + "\n"
