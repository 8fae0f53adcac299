"""A job's log: what its trainers print, with a line where each attempt begins and ends."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

TAIL_SIZE = 8192


def mark(log: Path, text: str) -> None:
    """Append a line of our own."""
    with log.open("ab") as file:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        file.write(f"=== {now} {text} ===\n".encode())


def last_line(log: Path) -> str:
    """The last line that is not empty, at most 500 characters."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - TAIL_SIZE))
        lines = [line for line in file.read().decode(errors="replace").splitlines() if line.strip()]
    return lines[-1].strip()[:500] if lines else ""
