"""References to the environment: the grammar of OpenTelemetry's configuration files."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inotify_bridge.config.document import parse
from inotify_bridge.config.environment import BadReference, has_reference, substitute

# The table of the specification, with its variables; an undefined variable is an error here.
ENVIRON = {
    "STRING_VALUE": "value",
    "BOOL_VALUE": "true",
    "INT_VALUE": "1",
    "FLOAT_VALUE": "1.1",
    "HEX_VALUE": "0xdeadbeef",
    "INVALID_MAP_VALUE": "value\nkey:value",
    "REPLACE_ME": "${DO_NOT_REPLACE_ME}",
    "DO_NOT_REPLACE_ME": "Never use this value",
    "VALUE_WITH_ESCAPE": "value$$",
    "EMPTY": "",
}
ROWS: list[tuple[str, Any]] = [
    ("${STRING_VALUE}", "value"),
    ("${BOOL_VALUE}", True),
    ("${INT_VALUE}", 1),
    ("${FLOAT_VALUE}", 1.1),
    ("${HEX_VALUE}", 3735928559),
    ('"${STRING_VALUE}"', "value"),
    ('"${BOOL_VALUE}"', "true"),
    ('"${INT_VALUE}"', "1"),
    ("'${FLOAT_VALUE}'", "1.1"),
    ('"${HEX_VALUE}"', "0xdeadbeef"),
    ("${env:STRING_VALUE}", "value"),
    ("${INVALID_MAP_VALUE}", "value\nkey:value"),
    ("foo ${STRING_VALUE} ${FLOAT_VALUE}", "foo value 1.1"),
    ("${UNDEFINED_KEY:-fallback}", "fallback"),
    ("${UNDEFINED_KEY:-}", None),
    ('"${UNDEFINED_KEY:-}"', ""),
    ("${EMPTY}", None),
    ("${EMPTY:-fallback}", "fallback"),
    ("${UNDEFINED_KEY:-7}", 7),
    ("${REPLACE_ME}", "${DO_NOT_REPLACE_ME}"),
    ("${UNDEFINED_KEY:-${STRING_VALUE}}", "${STRING_VALUE}"),
    ("$${STRING_VALUE}", "${STRING_VALUE}"),
    ("$$${STRING_VALUE}", "$value"),
    ("$$$${STRING_VALUE}", "$${STRING_VALUE}"),
    ("$${STRING_VALUE:-fallback}", "${STRING_VALUE:-fallback}"),
    ("$${STRING_VALUE:-${STRING_VALUE}}", "${STRING_VALUE:-value}"),
    ("${UNDEFINED_KEY:-$${UNDEFINED_KEY}}", "${UNDEFINED_KEY:-${UNDEFINED_KEY}}"),
    ("${VALUE_WITH_ESCAPE}", "value$$"),
    ("a $$ b", "a $ b"),
    ("a $ b", "a $ b"),
    ("!!str ${INT_VALUE}", "1"),
]


@pytest.mark.parametrize(("written", "value"), ROWS)
def test_table_of_the_specification(written: str, value: Any) -> None:
    """Every row gives the value and the type of the specification; the type is found after filling in."""
    document = parse(f"key: {written}\n", ENVIRON)
    assert document.faults == []
    assert document.value == {"key": value}
    assert type(document.value["key"]) is type(value)


def test_keys_are_left_alone() -> None:
    """A reference in a key is no reference."""
    assert parse("${STRING_VALUE}: value\n", ENVIRON).value == {"${STRING_VALUE}": "value"}


@pytest.mark.parametrize("text", ["${1KEY}", "${API_$KEY}", "${KEY:?error}", "${}", "${sys:KEY}", "${KEY-x}"])
def test_malformed_references_are_refused(text: str) -> None:
    """What looks like a reference and is none is an error that shows how to write one."""
    with pytest.raises(BadReference) as caught:
        substitute(text, {"KEY": "x"})
    assert "${NAME}" in caught.value.suggestion


def test_undefined_without_default_is_refused() -> None:
    """An undefined variable is an error that names it; an empty one is empty."""
    with pytest.raises(BadReference, match="NOPE"):
        substitute("a ${NOPE} b", {})
    assert substitute("a${EMPTY}b", ENVIRON) == "ab"


ANYTHING = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True)
DEFAULTS = st.text(st.characters(exclude_characters="}\n$", exclude_categories=["Cs"]), max_size=10)


@given(ANYTHING)
def test_escaping_every_dollar_gives_any_text_back(text: str) -> None:
    """A text with each dollar sign doubled means itself."""
    escaped = text.replace("$", "$$")
    assert substitute(escaped, {}) == text
    assert not has_reference(escaped)


@given(ANYTHING, NAMES, st.sampled_from(["", "env:"]), st.one_of(st.none(), DEFAULTS))
def test_values_are_taken_as_they_are(value: str, name: str, prefix: str, default: str | None) -> None:
    """Whatever a variable holds, dollars, braces and references included, stands in its place unchanged."""
    reference = f"${{{prefix}{name}{'' if default is None else f':-{default}'}}}"
    assert substitute(f"<{reference}>", {name: value}) == f"<{value or default or ''}>"


@given(ANYTHING)
def test_texts_without_reference_pass(text: str) -> None:
    """Where nothing is a reference, only doubled dollars change."""
    if not has_reference(text):
        assert substitute(text, {}) == text.replace("$$", "$")


@given(ANYTHING, st.dictionaries(NAMES, ANYTHING, max_size=3))
def test_any_text_is_filled_or_refused(text: str, environ: dict[str, str]) -> None:
    """Every text is either filled or refused, never anything else; what has no reference is never refused."""
    try:
        substitute(text, environ)
    except BadReference:
        assert has_reference(text)


def test_no_structure_comes_from_a_variable() -> None:
    """A variable that holds YAML is one scalar."""
    assert parse("key: ${EVIL}\n", {"EVIL": "{a: 1, b: [2]}"}).value == {"key": "{a: 1, b: [2]}"}
