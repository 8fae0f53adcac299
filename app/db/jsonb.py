"""JSON that PostgreSQL accepts: no NaN or infinity, no NUL, no half surrogate pairs."""

from __future__ import annotations

import math
from typing import Any

from pydantic_core import PydanticSerializationError, to_json


def dumps(value: Any) -> str:
    """`value` as JSON text for a jsonb column.

    A number that JSON has no word for becomes null, a character that PostgreSQL cannot store
    becomes U+FFFD: what a trainer reports must never be lost because one value is odd.
    """
    try:
        text = to_json(value, inf_nan_mode="null").decode()
    except PydanticSerializationError:
        return to_json(storable(value)).decode()
    if "\\u0000" in text:
        return to_json(storable(value)).decode()
    return text


def storable(value: Any) -> Any:
    """A copy of `value` in which nothing is left that jsonb refuses."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str):
        return storable_text(value)
    if isinstance(value, dict):
        return {storable_text(str(key)): storable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [storable(item) for item in value]
    return value


def storable_text(text: str) -> str:
    """`text` with NUL and half surrogate pairs replaced by U+FFFD."""
    if text.isascii() and "\x00" not in text:
        return text  # as nearly all of them are: every metric's name comes here
    whole = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return whole.replace("\x00", "\ufffd")
