"""The bearer token of a file: as the agent asks it of others, and as a command brings it."""

from __future__ import annotations

from pathlib import Path

from inotify_bridge.errors import ConfigError


def read_token(path: Path) -> str:
    """
    The token of a file, without the white space around it.

    Raises:
        ConfigError: it cannot be read, or holds none; with the path, and nothing of what stands there.
    """
    try:
        token = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not ASCII text"
        raise ConfigError(f"{path}: {reason}") from error
    if not token or not token.isprintable():
        raise ConfigError(f"{path}: no token in it", "one line, the same as in http.admin_token_file")
    return token
