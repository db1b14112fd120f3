"""Names as text."""

from __future__ import annotations

import base64
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from inotify_bridge.events import names
from tests.events import strategies


@given(st.one_of(st.binary(max_size=300), strategies.paths))
@example(bytes(range(256)))
@example(b"\xed\xb2\x80" * 85)
def test_round_trip(name: bytes) -> None:
    """Any bytes come back from their text."""
    assert names.decode(names.encode(name)) == name


@given(st.one_of(st.binary(max_size=300), strategies.paths))
def test_no_control_characters(name: bytes) -> None:
    """A text has no control character and no lone surrogate, and is UTF-8."""
    text = names.encode(name)
    assert not [c for c in text if unicodedata.category(c) in ("Cc", "Cs")]
    text.encode()


@given(st.text())
def test_unicode_stands_as_it_is(text: str) -> None:
    """Valid UTF-8 is changed only where it holds a percent sign or a control character."""
    try:
        name = text.encode()
    except UnicodeEncodeError:
        return
    expected = "".join(
        c if c != "%" and unicodedata.category(c) != "Cc" else "".join(f"%{byte:02X}" for byte in c.encode())
        for c in text
    )
    assert names.encode(name) == expected


@pytest.mark.parametrize("byte", range(1, 256))
def test_every_byte(byte: int) -> None:
    """Each byte alone stands for itself, or as two hexadecimal digits after a percent sign."""
    name = bytes((byte,))
    plain = 0x20 <= byte < 0x7F and name != b"%"
    assert names.encode(name) == (chr(byte) if plain else f"%{byte:02X}")
    assert names.encode(b"a" + name * 254) == "a" + names.encode(name) * 254


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (b"\xed\xa0\x80", "%ED%A0%80"),
        (b"\xc2\x85", "%C2%85"),
        (b"caf\xc3\xa9\xc3", "café%C3"),
        (b"100%", "100%25"),
        ("\u2028\u00a0\ufffe".encode(), "\u2028\u00a0\ufffe"),
    ],
)
def test_examples(name: bytes, text: str) -> None:
    """The contract's rule, by examples."""
    assert names.encode(name) == text


@given(strategies.paths)
def test_raw_twin(name: bytes) -> None:
    """A path field has its raw bytes beside it if and only if its text is not its bytes."""
    found = names.members("path", name)
    assert found.keys() == ({"path"} if found["path"].encode() == name else {"path", "path_b64"})
    assert base64.b64decode(found.get("path_b64", base64.b64encode(name))) == name


@pytest.mark.parametrize("text", ["%", "a%4", "%zz", "%+1", "%1_", "% 1", "\udc80"])
def test_malformed(text: str) -> None:
    """A text that no name has is refused."""
    with pytest.raises(ValueError, match=r"percent|surrogates"):
        names.decode(text)
