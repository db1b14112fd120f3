"""The file with the bearer token."""

from __future__ import annotations

from pathlib import Path

import pytest

from inotify_bridge.config.token import read_token
from inotify_bridge.errors import ConfigError


def test_white_space_is_no_part_of_it(tmp_path: Path) -> None:
    """A token is what stands in its file, without the line break that editors put there."""
    (tmp_path / "token").write_text(" canary \n")
    assert read_token(tmp_path / "token") == "canary"


@pytest.mark.parametrize("content", [b"", b" \n", b"CANARY\nCANARY", b"CANARY\xe9", "CANARYé".encode()])
def test_what_is_no_token_is_refused(tmp_path: Path, content: bytes) -> None:
    """What a header cannot carry is refused with the path, and not repeated."""
    (tmp_path / "token").write_bytes(content)
    with pytest.raises(ConfigError, match=r"token: no(t ASCII text| token in it)") as refused:
        read_token(tmp_path / "token")
    assert "CANARY" not in str(refused.value)
    with pytest.raises(ConfigError, match="No such file"):
        read_token(tmp_path / "none")
