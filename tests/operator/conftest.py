"""Agents and trees for the tests of operators."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from tests.agent.conftest import Launch, launch, scratch, trees
from tests.agent.process import AgentProcess
from tests.operator.asking import TOKEN

__all__ = ["launch", "operated", "scratch", "trees"]

Operated: TypeAlias = Callable[..., AgentProcess]


@pytest.fixture
def operated(launch: Launch, scratch: Path) -> Operated:
    """Like `launch`, with a token and an admin socket; its only sink ``file`` is a jsonl, unless given."""

    def make(sinks: list[dict[str, Any]] | None = None, **config: Any) -> AgentProcess:
        token = scratch / "token"
        token.write_text(TOKEN + "\n")
        http = {
            "listen": "127.0.0.1:0",
            "admin_token_file": os.fspath(token),
            "admin_socket": os.fspath(scratch / "admin.sock"),
        }
        return launch(sinks if sinks is not None else [jsonl(scratch)], **{"http": http, **config})

    return make


def jsonl(scratch: Path, name: str = "file") -> dict[str, Any]:
    """A sink that writes ``NAME.jsonl``."""
    return {"name": name, "type": "jsonl", "path": os.fspath(scratch / f"{name}.jsonl")}
