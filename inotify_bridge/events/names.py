"""
Names of files as text.

The kernel's names are bytes without NUL and slash; JSON, headers and terminals take Unicode text. Valid UTF-8
stands as it is, except that ``%``, control characters (U+0000 to U+001F, U+007F to U+009F) and bytes that are
not UTF-8 are percent-encoded. So the text can always be turned back into the bytes, two names never share a
text, and no name can break a line or drive a terminal (CWE-117, CWE-150).

Because ``%`` itself is always encoded, a text contains one if and only if something was encoded.
"""

from __future__ import annotations

import base64
import re
from typing import Final

# Bytes that are no UTF-8 come out of the decoder as U+DC80 to U+DCFF ("surrogateescape").
_ENCODED: Final = {
    code: "".join(f"%{byte:02X}" for byte in chr(code).encode("utf-8", "surrogateescape"))
    for code in (ord("%"), *range(0x20), *range(0x7F, 0xA0), *range(0xDC80, 0xDD00))
}
_ESCAPE: Final = re.compile(b"%([0-9A-Fa-f]{2})?")


def encode(name: bytes) -> str:
    """A name or path as text without control characters."""
    try:
        text = name.decode()
    except UnicodeDecodeError:
        text = name.decode("utf-8", "surrogateescape")
    else:
        # The common case. isprintable() is false for every control character (and for some spaces, which the
        # slow way leaves alone).
        if text.isprintable() and "%" not in text:
            return text
    return text.translate(_ENCODED)


def decode(text: str) -> bytes:
    """
    The inverse of `encode`.

    Raises:
        ValueError: a percent sign is not followed by two hexadecimal digits, or the text is no Unicode.
    """
    raw = text.encode()
    return _ESCAPE.sub(_byte, raw) if b"%" in raw else raw


def members(key: str, name: bytes) -> dict[str, str]:
    """A path field of an event's data: ``key``, and ``key_b64`` (the raw bytes) if anything was encoded."""
    text = encode(name)
    return {key: text, f"{key}_b64": base64_text(name)} if "%" in text else {key: text}


def base64_text(name: bytes) -> str:
    """Standard base64 with padding, as text."""
    return base64.b64encode(name).decode("ascii")


def _byte(match: re.Match[bytes]) -> bytes:
    if match[1] is None:
        raise ValueError("a percent sign without two hexadecimal digits")
    return bytes((int(match[1], 16),))
