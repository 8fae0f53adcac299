"""What the API is asked for in bodies, beside the specifications of `gogooku3.config`."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from app.jobs.series import LAST_STEP
from app.jobs.webhooks import EVENTS

MOST_JOBS = 100
_Id = Annotated[str, Field(max_length=64)]


class QueueMove(BaseModel):
    """Where to put a queued job: exactly one of `before`, `after` and `front`."""

    model_config = ConfigDict(extra="forbid", strict=True, use_attribute_docstrings=True)

    job: _Id
    """Its id."""
    before: _Id | None = None
    """The job that it is to come right before."""
    after: _Id | None = None
    """The job that it is to come right after."""
    front: bool = False
    """Before all others."""

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.before is not None) + (self.after is not None) + self.front != 1:
            raise ValueError("give exactly one of before, after and front: true")
        return self


class SweepExtension(BaseModel):
    """How many trials a sweep is to have in all."""

    model_config = ConfigDict(extra="forbid", strict=True, use_attribute_docstrings=True)

    n_trials: int = Field(ge=1, le=10_000)
    """Not fewer than it has now."""


class MetricsQuery(BaseModel):
    """Which series of which jobs."""

    model_config = ConfigDict(extra="forbid", strict=True, use_attribute_docstrings=True)

    jobs: list[Annotated[str, Field(max_length=64)]] = Field(min_length=1, max_length=MOST_JOBS)
    """Ids."""
    names: list[Annotated[str, Field(max_length=200)]] | None = Field(None, max_length=200)
    """Names such as `valid/rank_ic@5`; null = all."""
    split: str | None = Field(None, max_length=64)
    """Only names that start with `SPLIT/`."""
    start: int | None = Field(None, ge=0, le=LAST_STEP)
    """First epoch."""
    end: int | None = Field(None, ge=0, le=LAST_STEP)
    """Last epoch."""
    max_points: int = Field(500, ge=4, le=10_000)
    """Per series."""


class WebhookSpec(BaseModel):
    """Who is to be told of what."""

    model_config = ConfigDict(extra="forbid", strict=True, use_attribute_docstrings=True)

    url: str = Field(max_length=2000)
    """Where to send: https or http, to a public address."""
    events: list[Literal[EVENTS]] = Field(min_length=1, max_length=len(EVENTS))  # type: ignore[valid-type]
    """New states of jobs, and checkpoints."""
    labels: dict[str, str] = Field(default_factory=dict, max_length=20)
    """Only of jobs that have all of these."""
    description: str | None = Field(None, max_length=500)
