"""Where a command's words go: its answer to standard output, everything else to standard error."""

from __future__ import annotations

import json
import sys
from typing import Any


def is_terminal() -> bool:
    """Whether a person reads the answer; a pipe gets plain lines."""
    return sys.stdout.isatty()


def answer(text: str) -> None:
    """Print a line of the command's answer at once, even into a pipe."""
    print(text, flush=True)


def answer_json(value: Any) -> None:
    """Print the answer as JSON: indented for a person, one line for a program."""
    answer(json.dumps(value, indent=2 if is_terminal() else None, default=str, ensure_ascii=False))


def note(text: str) -> None:
    """Tell the person something that is not part of the answer."""
    print(text, file=sys.stderr, flush=True)
