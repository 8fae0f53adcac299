"""A bar for work that tells its stage and the share that is done."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def stage_bar(title: str) -> Iterator[Callable[[str, float], None]]:
    """Yields a function to call with the stage and the share done; drawn on a terminal only, on
    standard error so that the answer stays clean."""
    if not sys.stderr.isatty():
        yield lambda stage, share: None
        return
    # rich is loaded only where there is a terminal to draw on.
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (
        SpinnerColumn(),
        TextColumn("[bold]{task.description}"),
        BarColumn(bar_width=32),
        TimeElapsedColumn(),
        TextColumn("{task.fields[stage]}", style="dim"),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(title, total=1.0, stage="")
        yield lambda stage, share: progress.update(task, completed=share, stage=stage)
