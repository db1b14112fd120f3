"""How events, watches and statistics are written: plain, or coloured for a terminal."""

from __future__ import annotations

_CODES = {
    "normal": 0,
    "black": 30,
    "red": 31,
    "green": 32,
    "yellow": 33,
    "blue": 34,
    "purple": 35,
    "cyan": 36,
    "bold": 1,
    "uline": 4,
    "blink": 5,
    "invert": 7,
}


class RawOutputFormat:
    """Text without colours. `format` gives what is written before a piece, by the name of an attribute."""

    def __init__(self, format: dict[str, str] | None = None) -> None:
        self.format = format or {}

    def simple(self, s: object, attribute: str) -> str:
        """`s` in the look of `attribute`."""
        return f"{self.format.get(attribute, '')}{s}{self.format.get('normal', '')}"

    def punctuation(self, s: object) -> str:
        """Brackets and equals signs."""
        return self.simple(s, "normal")

    def field_value(self, s: object) -> str:
        """The value of an attribute."""
        return self.simple(s, "purple")

    def field_name(self, s: object) -> str:
        """The name of an attribute."""
        return self.simple(s, "blue")

    def class_name(self, s: object) -> str:
        """The name of a class."""
        return self.format.get("red", "") + self.simple(s, "bold")


class ColoredOutputFormat(RawOutputFormat):
    """Text with the escape codes of a terminal (ECMA-48, SGR)."""

    def __init__(self) -> None:
        super().__init__({name: f"\033[{code}m" for name, code in _CODES.items()})
