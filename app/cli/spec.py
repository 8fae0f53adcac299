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
    except OSError as error:
        raise UsageError(f"cannot read {name}: {error.strerror}") from None
    except UnicodeDecodeError as error:
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


def read_values(given: Sequence[str], *, into: dict[str, Any]) -> dict[str, Any]:
    """`PATH=VALUE` pairs put into an object: a dotted path of keys, and JSON, or else text.

    Raises UsageError for anything else.
    """
    for pair in given:
        path, equals, text = pair.partition("=")
        keys = path.split(".")
        if not equals or not all(keys):
            raise UsageError(f"a change is PATH=VALUE, such as config.seed=8, not {pair!r}")
        place = into
        for key in keys[:-1]:
            place = place.setdefault(key, {})
            if not isinstance(place, dict):
                raise UsageError(f"{pair!r}: {key} is not an object in the other changes")
        try:
            place[keys[-1]] = json.loads(text)
        except json.JSONDecodeError:
            place[keys[-1]] = text
    return into
