"""Curves for a terminal, of braille signs: each holds two columns and four rows of dots."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from app.cli.table import cell

BLANK = 0x2800
DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""The bit of a dot, by its row and column within the sign."""
Point = tuple[int, int]


def curve(values: Sequence[float | None], *, width: int, height: int) -> list[str]:
    """`height` lines of text with the values joined from left to right, at most `width` signs
    wide, and the largest and the smallest value written at the right. What is unknown is a gap.
    """
    known = [value for value in values if value is not None and math.isfinite(value)]
    if not known:
        return [""] * height
    low, high = min(known), max(known)
    signs = [[BLANK] * width for _ in range(height)]
    last: Point | None = None
    for at, value in enumerate(values):
        if value is None or not math.isfinite(value):
            last = None
            continue
        across = at / (len(values) - 1) if len(values) > 1 else 0.0
        down = (high - value) / (high - low) if high > low else 0.5
        point = (round(across * (2 * width - 1)), round(down * (4 * height - 1)))
        for x, y in _between(last or point, point):
            signs[y // 4][x // 2] |= DOTS[y % 4][x % 2]
        last = point
    lines = ["".join(map(chr, row)) for row in signs]
    lines[0] += f" {cell(high)}"
    if high > low and height > 1:
        lines[-1] += f" {cell(low)}"
    return lines


def _between(start: Point, end: Point) -> Iterator[Point]:
    """The dots on the straight line from one to the other, both included."""
    steps = max(abs(end[0] - start[0]), abs(end[1] - start[1]), 1)
    for step in range(steps + 1):
        share = step / steps
        yield (
            round(start[0] + share * (end[0] - start[0])),
            round(start[1] + share * (end[1] - start[1])),
        )
