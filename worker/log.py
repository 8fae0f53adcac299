"""A job's log: what its trainers print, with a line where each attempt begins and ends."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from pathlib import Path

logger = logging.getLogger(__name__)
TAIL_SIZE = 8192
LONGEST = 64 * 2**20
"""Bytes of a job's log; beyond that its beginning is dropped ..."""
KEPT = 4 * 2**20
"""... but for its last lines."""


def mark(log: Path, text: str) -> None:
    """Append a line of our own; a full disk must not keep an attempt from its end."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    try:
        with log.open("ab") as file:
            file.write(f"=== {now} {text} ===\n".encode())
    except OSError as error:
        logger.warning("%s: %s was not written: %s", log, text, error)


def last_line(log: Path) -> str:
    """The last line that is not empty, at most 500 characters."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - TAIL_SIZE))
        lines = [line for line in file.read().decode(errors="replace").splitlines() if line.strip()]
    return lines[-1].strip()[:500] if lines else ""


def cut(log: Path, longest: int = LONGEST, kept: int = KEPT) -> bool:
    """Drop the beginning of a log that has grown too long, and say so in it; whether it was.

    The file stays the same: the child goes on appending to it. What the child writes at this very
    moment may be lost.
    """
    with log.open("r+b") as file:
        size = file.seek(0, 2)
        if size <= longest:
            return False
        file.seek(size - kept)
        tail = file.read()
        tail = tail[tail.find(b"\n") + 1 :]
        file.truncate(0)
    with log.open("ab") as file:
        file.write(
            f"=== the first {size - len(tail)} bytes of this log were dropped ===\n".encode()
        )
        file.write(tail)
    return True
