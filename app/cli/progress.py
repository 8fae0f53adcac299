"""A run as it happens: a bar, curves and a table of epochs for a person, one line an event in a
pipe."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self

from app.cli.console import answer, is_terminal
from app.cli.curve import curve
from app.cli.table import NOTHING, cell, duration

if TYPE_CHECKING:
    from rich.console import RenderableType

ROWS_SHOWN = 8
"""Epochs in the live table; all of them are printed at the end."""
CURVES = ("valid/rank_ic", "train/loss", "valid/loss")
"""What is drawn, as many of them side by side as the terminal is wide."""
CURVE_WIDTH, CURVE_HEIGHT = 26, 5
"""Of a curve, in signs; its figures take ten more."""


class RunView(Protocol):
    """Shows the events of one run, by their type and payload; a context manager."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    def show(self, kind: str, payload: Mapping[str, Any], *, attempt: int = 1) -> None: ...


def run_view(name: str) -> RunView:
    """The view that fits where the answer goes."""
    return LiveView(name) if is_terminal() else LineView()


@dataclass
class _View:
    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        return None


@dataclass
class LineView(_View):
    """One plain line per event worth reading."""

    max_epochs: int | None = None

    def show(self, kind: str, payload: Mapping[str, Any], *, attempt: int = 1) -> None:
        if kind == "progress" and payload.get("stage"):
            answer(f"{payload['share']:4.0%}  {payload['stage']}")
        elif kind == "progress":
            self.max_epochs = payload.get("max_epochs")
        elif kind == "epoch":
            of = f"/{self.max_epochs}" if self.max_epochs else ""
            metrics = payload["metrics"]
            shown = "  ".join(f"{name} {cell(metrics[name])}" for name in _columns(metrics))
            took = duration(payload.get("duration_s"))
            answer(f"epoch {payload['epoch']}{of}  {shown}  {took}")
        else:
            text = describe(kind, payload, attempt)
            if text:
                answer(text)


@dataclass
class LiveView(_View):
    """A progress bar under a table of epochs and their curves, redrawn in place."""

    name: str
    rows: dict[int, dict[str, Any]] = field(default_factory=dict)
    columns: list[str] = field(default_factory=list)
    best_epoch: int | None = None
    doing: str = "waits for a worker"
    position: dict[str, Any] = field(default_factory=dict)
    began: float = field(default_factory=time.monotonic)

    def __enter__(self) -> Self:
        # rich is loaded only where there is a terminal to draw on.
        from rich.live import Live
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("[bold]{task.description}"),
            BarColumn(bar_width=32),
            TextColumn("{task.fields[detail]}"),
        )
        self._task = self._progress.add_task(f"{self.name} {self.doing}", total=1.0, detail="")
        self._live = Live(get_renderable=self._render, refresh_per_second=8)
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.remove_task(self._task)
        self._live.vertical_overflow = "visible"
        self._live.stop()

    def show(self, kind: str, payload: Mapping[str, Any], *, attempt: int = 1) -> None:
        if kind == "progress":
            self.doing, self.position = "", dict(payload)
        elif kind == "epoch":
            metrics = dict(payload["metrics"])
            self.columns = self.columns or _columns(metrics)
            self.rows[payload["epoch"]] = {**metrics, "duration_s": payload.get("duration_s")}
            self.position |= {"epoch": payload["epoch"], "step": 1, "steps": 1}
        elif kind == "checkpoint":
            if payload.get("is_best"):
                self.best_epoch = payload["epoch"]
        else:
            if kind == "state":
                self.doing = "starts" if payload.get("state") == "running" else "waits"
            text = describe(kind, payload, attempt)
            if text:
                self._live.console.print(text, style="dim", highlight=False, markup=False)
        self._advance()

    def _advance(self) -> None:
        at = self.position
        elapsed = duration(time.monotonic() - self.began)
        left = at.get("eta_s")
        if at.get("stage"):
            self._progress.update(
                self._task,
                completed=at["share"],
                description=f"{self.name} {at['stage']}",
                detail=elapsed + (f"  about {duration(left)} left" if left else ""),
            )
            return
        if not at.get("max_epochs"):
            self._progress.update(
                self._task, description=f"{self.name} {self.doing}", detail=elapsed
            )
            return
        share = at.get("step", 0) / max(at.get("steps") or 1, 1)
        self._progress.update(
            self._task,
            completed=min((at["epoch"] - 1 + share) / at["max_epochs"], 1.0),
            description=f"{self.name} epoch {at['epoch']}/{at['max_epochs']}",
            detail=f"step {at.get('step', 0)}/{at.get('steps', 0)}  {elapsed}"
            + (f"  about {duration(left)} left" if left else ""),
        )

    def _render(self) -> RenderableType:
        from rich.box import SIMPLE_HEAD
        from rich.console import Group
        from rich.table import Table

        is_running = bool(self._progress.tasks)
        if not self.rows:
            return self._progress if is_running else ""
        table = Table(box=SIMPLE_HEAD, header_style="bold", pad_edge=False)
        table.add_column("epoch", justify="right")
        for name in self.columns:
            table.add_column(_title(name), justify="right")
        table.add_column("time", justify="right")
        table.add_column("")
        epochs = sorted(self.rows)
        for epoch in epochs[-ROWS_SHOWN:] if is_running else epochs:
            row = self.rows[epoch]
            is_best = epoch == self.best_epoch
            table.add_row(
                str(epoch),
                *(cell(row.get(name)) for name in self.columns),
                duration(row["duration_s"]),
                "best" if is_best else "",
                style="bold green" if is_best else None,
            )
        parts = [table, *self._curves(epochs)]
        return Group(*parts, self._progress) if is_running else Group(*parts)

    def _curves(self, epochs: list[int]) -> list[RenderableType]:
        """The curves side by side, once there are two epochs to join."""
        from rich.table import Table
        from rich.text import Text

        if len(epochs) < 2:
            return []
        shown = Table.grid(padding=(0, 3))
        cells = []
        for name in CURVES[: max(1, self._live.console.width // (CURVE_WIDTH + 13))]:
            values = [self.rows[epoch].get(name) for epoch in epochs]
            if any(value is not None for value in values):
                lines = curve(values, width=CURVE_WIDTH, height=CURVE_HEIGHT)
                title = name.replace("/", " ").replace("rank_ic", "rank IC")
                cells.append(Text("\n".join([title, *lines]), no_wrap=True))
        if not cells:
            return []
        shown.add_row(*cells)
        return [shown]


def describe(kind: str, payload: Mapping[str, Any], attempt: int) -> str | None:
    """An event in words, or None when it says nothing to a person."""
    if kind == "state":
        return _describe_state(payload, attempt)
    if kind == "warning":
        return f"warning: {payload.get('message', payload.get('code'))}"
    if kind == "failure":
        return f"failed: {payload.get('message')}"
    if kind == "start":
        return _describe_start(payload.get("provenance", payload))
    if kind == "checkpoint" and payload.get("is_best"):
        return f"best checkpoint so far: epoch {payload['epoch']}"
    return None


def _describe_state(payload: Mapping[str, Any], attempt: int) -> str:
    state = payload.get("state", NOTHING)
    again = f" (attempt {attempt})" if state == "running" and attempt > 1 else ""
    reason = payload.get("reason")
    why = f": {reason['message']}" if isinstance(reason, Mapping) and reason.get("message") else ""
    return f"{state}{again}{why}"


def _describe_start(provenance: Mapping[str, Any]) -> str:
    parts = [f"trains on {provenance.get('device', NOTHING)}"]
    threads = provenance.get("threads")
    if isinstance(threads, Mapping):
        threads = threads.get("torch")
    if threads:
        parts.append(f"{threads} thread{'s' if threads != 1 else ''}")
    if provenance.get("parameters"):
        parts.append(f"{provenance['parameters']:,} parameters")
    if provenance.get("resumed_from"):
        parts.append("goes on from its last checkpoint")
    return ", ".join(parts)


def _title(metric: str) -> str:
    """A metric's name, short enough for a column; the horizons of the rank IC stand beside it."""
    if metric.startswith("valid/rank_ic@"):
        return f"{metric.partition('@')[2]} d"
    return "rank IC" if metric == "valid/rank_ic" else metric.replace("/", " ")


def _columns(metrics: Mapping[str, Any]) -> list[str]:
    """The metrics worth a column: losses, the weighted rank IC and each horizon's."""
    wanted = ["train/loss", "valid/loss", "valid/rank_ic"]
    by_horizon = [name for name in metrics if name.startswith("valid/rank_ic@")]
    by_horizon.sort(key=lambda name: int(name.partition("@")[2]))
    return [name for name in [*wanted, *by_horizon] if name in metrics]
