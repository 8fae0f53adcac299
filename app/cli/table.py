"""Tables: ruled for a person, tab-separated lines in a pipe."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from app.cli.console import answer, is_terminal

NOTHING = "–"
"""How an unknown or undefined value is shown."""


def cell(value: Any) -> str:
    """A value as a person reads it: four decimals, local seconds, a dash for nothing."""
    if value is None:
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4f}" if abs(value) >= 1e-3 or value == 0 else f"{value:.1e}"
    if isinstance(value, datetime):
        return value.astimezone().strftime("%Y-%m-%d %H:%M:%S")
    return str(value)


def size(count: int) -> str:
    """A number of bytes in the largest fitting unit."""
    amount = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"


def duration(seconds: float | None) -> str:
    """Seconds as `8 s`, `2 min 05 s` or `3 h 10 min`."""
    if seconds is None:
        return NOTHING
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def print_table(
    columns: Sequence[str], rows: Sequence[Sequence[Any]], *, title: str | None = None
) -> None:
    """Print rows under their column names; numbers are set to the right."""
    texts = [[cell(value) for value in row] for row in rows]
    if not is_terminal():
        for line in ([*columns], *texts):
            answer("\t".join(line))
        return
    # rich takes a tenth of a second to load: only a table on a terminal pays for it.
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, title=title, title_justify="left", header_style="bold")
    for position, name in enumerate(columns):
        values = [row[position] for row in rows]
        is_number = any(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
        # An identifier that is cut off cannot be copied.
        table.add_column(name, justify="right" if is_number else "left", no_wrap=position == 0)
    for row in texts:
        table.add_row(*row)
    Console().print(table)


def print_fields(fields: dict[str, Any]) -> None:
    """Print name and value pairs, one a line."""
    width = max((len(name) for name in fields), default=0)
    for name, value in fields.items():
        answer(f"{name:<{width}}  {cell(value)}" if is_terminal() else f"{name}\t{cell(value)}")
