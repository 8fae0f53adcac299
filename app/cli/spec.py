"""Reading a specification from a file or from standard input."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

from app.cli.failures import UsageError


def read_spec(path: str) -> dict[str, Any]:
    """The JSON object in the file at `path`, or on standard input for `-`. Raises UsageError."""
    name = "standard input" if path == "-" else path
    try:
        if path == "-":
            text = sys.stdin.read()
        else:
            with open(path, encoding="utf-8") as file:
                text = file.read()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {name}: {error}") from None
    try:
        spec = json.loads(text)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise UsageError(f"{name} is not JSON: {error.msg} at {where}") from None
    if not isinstance(spec, dict):
        raise UsageError(f"{name} must hold a JSON object, not a {type(spec).__name__}")
    return spec


def read_labels(given: Sequence[str]) -> dict[str, str]:
    """`KEY=VALUE` pairs. Raises UsageError for anything else."""
    labels = {}
    for pair in given:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise UsageError(f"a label is KEY=VALUE, not {pair!r}")
        labels[key] = value
    return labels
