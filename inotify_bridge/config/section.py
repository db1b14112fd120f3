"""What every part of the configuration is, and patterns of files."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict
from pydantic_core import PydanticCustomError

from inotify_bridge.capture.filters import compile_pattern


def _pattern(value: str) -> str:
    try:
        compile_pattern(value)
    except ValueError:
        raise PydanticCustomError(
            "pattern", "is no pattern that could match", {"suggestion": "see gitignore(5)"}
        ) from None
    return value


Pattern = Annotated[str, AfterValidator(_pattern)]
"""A pattern of gitignore(5)."""


class Section(BaseModel):
    """Base of all parts: frozen, unknown keys refused."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        populate_by_name=True,
        use_attribute_docstrings=True,
        hide_input_in_errors=True,
    )
