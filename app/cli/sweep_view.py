"""A sweep as it happens: a table of trials for a person, one line a trial in a pipe."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self

from app.cli.console import answer, answer_json, is_terminal, note
from app.cli.table import NOTHING, cell, duration, print_table

if TYPE_CHECKING:
    from rich.console import RenderableType

    from gogooku3.client import Sweep, Trial

ROWS_SHOWN = 20
"""Trials in the live table, the newest; all of them are printed at the end."""
LIVE = frozenset({"queued", "running", "paused"})


class SweepView(Protocol):
    """Shows a sweep and its trials each time they are looked at; a context manager."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    def show(self, sweep: Sweep, trials: Sequence[Trial]) -> None: ...


def sweep_view(*, as_json: bool) -> SweepView:
    """The view that fits where the answer goes."""
    return LiveTable() if is_terminal() and not as_json else Lines(as_json)


@dataclass
class Lines:
    """One line for each trial that has ended."""

    as_json: bool
    _told: set[int] = field(default_factory=set)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        return None

    def show(self, sweep: Sweep, trials: Sequence[Trial]) -> None:
        for trial in trials:
            if trial.state in LIVE or trial.number in self._told:
                continue
            self._told.add(trial.number)
            if self.as_json:
                answer_json(trial.model_dump(mode="json"))
                continue
            is_best = sweep.best is not None and sweep.best.number == trial.number
            done = f"{len(self._told)}/{sweep.n_trials}"
            value = "" if trial.value is None else f"  {cell(trial.value)}"
            answer(
                f"trial {trial.number} ({done})  {trial.state}{value}"
                f"{'  best so far' if is_best else ''}  {short_params(trial.params)}"
            )


@dataclass
class LiveTable:
    """A table of trials over a line of counts, redrawn in place."""

    _sweep: Sweep | None = None
    _trials: Sequence[Trial] = ()
    _is_ended: bool = False

    def __enter__(self) -> Self:
        # rich is loaded only where there is a terminal to draw on.
        from rich.live import Live

        self._live = Live(get_renderable=self._render, refresh_per_second=4)
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._is_ended = True
        self._live.vertical_overflow = "visible"
        self._live.stop()

    def show(self, sweep: Sweep, trials: Sequence[Trial]) -> None:
        self._sweep, self._trials = sweep, trials

    def _render(self) -> RenderableType:
        from rich.box import SIMPLE_HEAD
        from rich.console import Group
        from rich.table import Table

        sweep = self._sweep
        if sweep is None:
            return ""
        paths = list(dict.fromkeys(path for trial in self._trials for path in trial.params))
        table = Table(box=SIMPLE_HEAD, header_style="bold", pad_edge=False)
        table.add_column("trial", justify="right")
        table.add_column("state")
        table.add_column(sweep.objectives[0]["metric"].removeprefix("valid/"), justify="right")
        table.add_column("epochs", justify="right")
        for name in short_names(paths):
            table.add_column(name, justify="right")
        best = sweep.best.number if sweep.best else None
        for trial in self._trials if self._is_ended else self._trials[-ROWS_SHOWN:]:
            curve = trial.intermediate_values
            value = trial.value
            if value is None and trial.state in LIVE and curve:
                value = curve[max(curve)]
            style = "bold green" if trial.number == best else _STYLES.get(trial.state)
            table.add_row(
                str(trial.number),
                trial.state,
                cell(value),
                str(trial.epochs),
                *(_param(trial.params.get(path)) for path in paths),
                style=style,
            )
        return Group(table, f"{sweep.name}  {summary(sweep)}")


_STYLES = {"failed": "red", "pruned": "dim", "cancelled": "dim", "queued": "dim"}


def print_preview(found: dict[str, Any]) -> None:
    """How much a sweep would run, and the first values that it would try."""
    counted = found["grid_size"]
    of = "" if counted is None else f" with {counted} combinations"
    answer(
        f"{found['n_trials']} trials, {found['runs']} runs, {found['epochs']} epochs at most; "
        f"{found['parameters']} parameters{of}"
    )
    for told in found["warnings"]:
        note(f"note: {told}")
    suggestions = found["suggestions"]
    paths = list(dict.fromkeys(path for one in suggestions for path in one))
    rows = [
        [number, *(_param(one.get(path)) for path in paths)]
        for number, one in enumerate(suggestions)
    ]
    print_table(["trial", *short_names(paths)], rows)
    note("nothing is stored; all that the server answers: --json")


def summary(sweep: Sweep) -> str:
    """How far a sweep is, in one line."""
    counts = sweep.counts
    parts = [f"{counts.get('succeeded', 0)} complete"]
    parts += [
        f"{counts[state]} {state}"
        for state in ("running", "queued", "paused", "pruned", "failed", "cancelled")
        if counts.get(state)
    ]
    is_ending = sweep.cancel_requested_at is not None and not sweep.is_finished
    state = "being cancelled" if is_ending else sweep.state
    text = f"{state}: {', '.join(parts)} of {sweep.n_trials}"
    if sweep.best is not None:
        text += f"; best so far {cell(sweep.best.value)} (trial {sweep.best.number})"
    if sweep.estimated_finish_at is not None:
        left = (sweep.estimated_finish_at - datetime.now(UTC)).total_seconds()
        if left > 0:
            text += f"; about {duration(left)} left"
    return text


def short_params(params: dict[str, Any]) -> str:
    """`lr=0.001 layers=2`: values by the shortest names that tell them apart."""
    names = short_names(list(params))
    return " ".join(
        f"{name}={_param(value)}" for name, value in zip(names, params.values(), strict=True)
    )


def short_names(paths: Sequence[str]) -> list[str]:
    """The last parts of paths, as many as tell them apart."""
    names = []
    for path in paths:
        parts = path.split(".")
        for count in range(1, len(parts) + 1):
            name = ".".join(parts[-count:])
            if sum(other == name or other.endswith(f".{name}") for other in paths) == 1:
                break
        names.append(name)
    return names


def _param(value: Any) -> str:
    if value is None:
        return NOTHING
    if isinstance(value, float):
        return f"{value:.3g}"
    return value if isinstance(value, str) else json.dumps(value)
