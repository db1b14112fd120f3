"""Which requests of a command carry the token of a configuration file."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from inotify_bridge.cli.connection import Target
from inotify_bridge.cli.options import find_target

CONFIG = """\
watch_groups:
  - {name: g, paths: [/tmp], sinks: [s]}
sinks:
  - {name: s, type: stdout}
http: {listen: "LISTEN", admin_token: secret}
"""


def target(file: Path, listen: str) -> Target:
    """What `-c` finds."""
    file.write_text(CONFIG.replace("LISTEN", listen))
    with click.Context(click.Command("status")):
        return find_target(None, None, str(file))


@pytest.mark.parametrize("path", ["/livez", "/api/v1/status", "/api/v1/tap"])
def test_the_token_goes_where_it_is_needed(tmp_path: Path, path: str) -> None:
    """On loopback only operator signals carry it; where the agent listens on other addresses all do."""
    own = target(tmp_path / "config.yaml", "127.0.0.1:10477")
    assert own.headers(path) == {}
    assert own.headers("/-/reload") == {"Authorization": "Bearer secret"}
    assert target(tmp_path / "config.yaml", "0.0.0.0:10477").headers(path) != {}
