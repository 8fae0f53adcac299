"""What a child process is asked and what it tells: one JSON object a line. No torch, no HTTP.

The supervisor writes a `RunRequest` to a trainer's standard input, or a `BuildRequest` to a dataset
builder's, and reads events from its pipe; `gogooku3 train` does the same and prints them. The
server stores them. `type` tells them apart.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from gogooku3.config import DatasetConfig, TrainConfig


class EventModel(BaseModel):
    """A frozen event; NaN and infinity are written as null."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, ser_json_inf_nan="null", use_attribute_docstrings=True
    )


class RunRequest(EventModel):
    """Everything a trainer process is told, on its standard input."""

    config: TrainConfig
    dataset: Path
    """The cache's file."""
    out_dir: Path
    """Folder of this attempt's checkpoints and resume state; made if missing."""
    log: Path | None = None
    """Where a process that was started before its job was known is to write what it prints."""
    resume: Path | None = None
    """Resume state of an earlier attempt to go on from."""
    recorded_epoch: int = 0
    """Last epoch whose event the server has; later ones in the resume state are sent again."""
    lease_s: float | None = None
    """Length of the lease behind the lifeline; null = no lifeline."""
    cpu_threads: int = Field(default=2, ge=1)
    device: str = Field(default="cpu", pattern=r"^(cpu|cuda:\d+)$")
    """Of the only process, or of the first of several: the others take the next ones."""
    ranks: int = Field(default=1, ge=1, le=64)
    """Processes that train together; the trainer starts the others itself."""
    memory_mb: int | None = None
    """MiB that each of them may hold beside the mapped dataset; null = no limit."""


class BuildRequest(EventModel):
    """Everything a dataset builder is told, on its standard input."""

    config: DatasetConfig
    name: str
    """What the dataset is called."""
    out: Path
    """The file to write, in a folder that nothing else uses: whatever an end leaves behind there
    is for the supervisor to remove."""
    source: Path | None = None
    """The input of a file source, found below the data root and known to lie there; of J-Quants,
    the folder of the days that were fetched."""
    lease_s: float | None = None
    """Length of the lease behind the lifeline; null = no lifeline."""


class StartEvent(EventModel):
    """The child is up: what it runs on, verified from inside the process."""

    type: Literal["start"] = "start"
    provenance: dict[str, Any]
    """device, threads, versions, dataset fingerprint, parameter count, split, resumed_from."""


class ProgressEvent(EventModel):
    """Where the run is; at most one every two seconds."""

    type: Literal["progress"] = "progress"
    epoch: int
    """Epoch under way, from 1."""
    max_epochs: int
    step: int
    """Optimiser steps done in this epoch."""
    steps: int
    """Optimiser steps in this epoch."""
    eta_s: float | None = None
    """Estimated seconds to the end of the last epoch."""


class StageEvent(EventModel):
    """Where the build of a dataset is; at most one every second, and the last."""

    type: Literal["stage"] = "stage"
    stage: str
    """What was done last."""
    share: float = Field(ge=0.0, le=1.0)
    """Of the whole that is done."""
    eta_s: float | None = None
    """Estimated seconds to the end."""


class DatasetEvent(EventModel):
    """A dataset is complete on disk, not yet where jobs find it."""

    type: Literal["dataset"] = "dataset"
    fingerprint: str
    rows: int
    stocks: int
    days: int
    features: int
    size_bytes: int


class EpochEvent(EventModel):
    """An epoch is complete: its metrics, named `split/name` or `split/name@horizon`."""

    type: Literal["epoch"] = "epoch"
    epoch: int
    metrics: dict[str, float | None]
    """null = undefined, as the correlation of a constant is."""
    duration_s: float


class CheckpointEvent(EventModel):
    """A checkpoint is complete on disk."""

    type: Literal["checkpoint"] = "checkpoint"
    epoch: int
    path: str
    """File name inside the attempt's output folder."""
    size: int
    sha256: str
    is_best: bool
    metrics: dict[str, float | None]


class ResumePointEvent(EventModel):
    """The resume state was written: a killed run can go on from here."""

    type: Literal["resume_point"] = "resume_point"
    epoch: int
    """Complete epochs."""
    step: int
    """Optimiser steps done in the epoch after those."""
    path: str
    """File name inside the attempt's output folder."""


class WarningEvent(EventModel):
    """Something the user should know; the run goes on."""

    type: Literal["warning"] = "warning"
    code: str
    message: str


class FailureEvent(EventModel):
    """The run cannot go on; the last event of a failed trainer."""

    type: Literal["failure"] = "failure"
    failure_class: str
    """user | data | diverged | oom | infra."""
    code: str
    message: str
    next_action: str | None = None
    findings: tuple[dict[str, Any], ...] = ()
    """In parts: what is wrong with the input of a dataset, one by one; where a run diverged; which
    batch would fit."""


class EndEvent(EventModel):
    """The run is over: the last event of a child that did not fail."""

    type: Literal["end"] = "end"
    outcome: Literal["completed", "stopped_early", "interrupted"]
    """`stopped_early`: the metric did not get better for `early_stopping.patience` epochs;
    `interrupted`: asked to stop; a trainer has written a resume point."""
    best_epoch: int | None = None
    best_metrics: dict[str, float | None] = {}


Event = Annotated[
    StartEvent
    | ProgressEvent
    | StageEvent
    | DatasetEvent
    | EpochEvent
    | CheckpointEvent
    | ResumePointEvent
    | WarningEvent
    | FailureEvent
    | EndEvent,
    Field(discriminator="type"),
]

_adapter: TypeAdapter[Event] = TypeAdapter(Event)


def parse_event(line: str | bytes) -> Event:
    """The event of one JSON line. Raises pydantic.ValidationError on anything else."""
    return _adapter.validate_json(line)
