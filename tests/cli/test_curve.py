"""Curves in a terminal show what they are given."""

from __future__ import annotations

from app.cli.curve import BLANK, DOTS, curve


def dots(line: str, width: int) -> list[list[bool]]:
    """Four rows of dots of a line of text."""
    bits = [ord(sign) - BLANK for sign in line[:width]]
    return [
        [bool(bit & DOTS[row][column]) for bit in bits for column in (0, 1)] for row in range(4)
    ]


def heights(lines: list[str], width: int) -> list[int | None]:
    """The highest dot of each column, counted from below."""
    rows = [row for line in lines for row in dots(line, width)]
    columns = zip(*rows, strict=True)
    return [len(rows) - 1 - column.index(True) if any(column) else None for column in columns]


def test_a_line_rises_from_the_lowest_to_the_highest_dot() -> None:
    lines = curve([float(number) for number in range(8)], width=4, height=2)
    assert heights(lines, 4) == list(range(8))
    assert [line[4:] for line in lines] == [" 7.0000", " 0.0000"]


def test_points_far_apart_are_joined() -> None:
    found = heights(curve([0.0, 1.0], width=10, height=2), 10)
    assert None not in found
    assert found == sorted(found, key=lambda height: height or 0)


def test_what_is_unknown_is_a_gap() -> None:
    found = heights(curve([1.0, None, float("nan"), 0.0], width=2, height=1), 2)
    assert found == [3, None, None, 0]


def test_one_value_and_none_at_all() -> None:
    (only,) = curve([0.5], width=4, height=1)
    assert heights([only], 4).count(None) == 7
    assert only.endswith(" 0.5000")
    assert curve([None, None], width=4, height=2) == ["", ""]
