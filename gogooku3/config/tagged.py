"""Unions told apart by their `kind`, with a default when a spec leaves `kind` out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def kind_or(default: str) -> Callable[[Any], str]:
    """A pydantic discriminator: the value's `kind`, or `default` when it has none."""

    def kind_of(value: Any) -> str:
        if isinstance(value, dict):
            return str(value.get("kind", default))
        return str(getattr(value, "kind", default))

    return kind_of
