"""What the API answers about sweeps. Additive changes only: clients rely on every name here."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from app.api.answers import Answer
from app.domain import SweepState


class TrialAnswer(Answer):
    """A trial: what was chosen, and what came of it."""

    number: int
    """0, 1, 2, ... within the sweep."""
    state: str
    """Its job's: queued, running, paused, succeeded, failed, cancelled or pruned."""
    params: dict[str, Any]
    """By path of the configuration."""
    value: float | None
    """The first objective at the best epoch; null of a trial that is not complete."""
    values: list[float] | None
    """All objectives."""
    seed_values: list[float] | None
    """The first objective of each seed's run."""
    violations: dict[str, float | None]
    """By constraint: how far it is missed; > 0 = not met."""
    is_feasible: bool | None
    """Whether every constraint is met."""
    intermediate_values: dict[int, float | None]
    """The objective's metric by epoch, of the first run."""
    job_id: str
    """Its first run: an ordinary job."""
    job_ids: list[str]
    """All runs, one a seed."""
    epochs: int
    """Complete epochs of all runs."""
    reason: dict[str, Any] | None
    """Why it ended other than well: class, code, message, next_action."""
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


class TrialPage(Answer):
    """Trials by number; ask again with `page_token` while there is one."""

    items: list[TrialAnswer]
    next_page_token: str | None


class SweepSummary(Answer):
    """A sweep as lists show it."""

    id: str
    name: str
    state: SweepState
    dataset: str
    dataset_fingerprint: str
    """Of the dataset when the sweep was created; every trial sees the same."""
    labels: dict[str, str]
    priority: int
    note: str | None
    objectives: list[dict[str, Any]]
    """metric and direction of each."""
    n_trials: int
    max_parallel: int
    counts: dict[str, int]
    """Trials by state; `waiting` are those that do not exist yet."""
    best: TrialAnswer | None
    """The best complete trial so far that meets the constraints."""
    estimated_finish_at: datetime | None
    """By the mean time that trials have taken, counted from `updated_at`; null before one has
    ended. It has passed when what runs takes longer."""
    reason: dict[str, Any] | None
    cancel_requested_at: datetime | None
    created_at: datetime
    finished_at: datetime | None
    updated_at: datetime


class SweepAnswer(SweepSummary):
    """A sweep with its effective specification."""

    config: dict[str, Any]
    """The effective specification: every default filled in."""
    optuna_version: str
    """With the sampler, its arguments and its seed: what the suggestions depend on."""
    warnings: list[str]
    """What a person should know of the search space, or why the sweep cannot go on any more."""


class SweepPage(Answer):
    """One page of a list; ask again with `page_token` while there is one."""

    items: list[SweepSummary]
    next_page_token: str | None


class CheckedSweepAnswer(Answer):
    """What `validate_only` answers: the sweep as it would be, not stored."""

    valid: bool = True
    config: dict[str, Any]
    warnings: list[str]


class SweepPreview(CheckedSweepAnswer):
    """How much a sweep would run, and how it would begin."""

    n_trials: int
    runs: int
    """Trials times seeds, if none is pruned."""
    epochs: int
    """Of all runs together, if none is pruned or stops early."""
    grid_size: int | None
    """Combinations of values; null when they cannot be counted."""
    parameters: int
    suggestions: list[dict[str, Any]]
    """Values of the first trials, as they would be chosen before any has ended."""


class BestAnswer(Answer):
    """The best trial, and how much of it may be luck."""

    number: int
    job_id: str
    """The run behind it; with several seeds, the best one's."""
    value: float
    params: dict[str, Any]
    metrics: dict[str, float | None]
    """At the run's best epoch, which is that of its best checkpoint."""
    epoch: int | None
    checkpoint_id: str | None
    selection: dict[str, Any] | None
    """`best_of` trials, `deflated_sharpe` (Bailey and Lopez de Prado 2014), `overfitting`
    (probability of, by CSCV), `seed_noise`; null until a worker has worked it out, and `trials`
    says how many ended trials it knows."""


class ImportancesAnswer(Answer):
    """Which parameters mattered (PED-ANOVA), by objective; null with too few complete trials."""

    importances: dict[str, dict[str, float] | None]
    trials: int
    """Ended trials that this knows."""


class Coordinate(Answer):
    """One axis of a parallel-coordinates plot."""

    path: str
    log: bool
    choices: list[Any] | None
    """Of a choice: its values, in order."""
    low: float | None
    high: float | None


class ParallelAnswer(Answer):
    """What a parallel-coordinates plot needs: a line for each complete trial."""

    objective: str
    direction: str
    coordinates: list[Coordinate]
    lines: list[dict[str, Any]]
    """number, value, params (null where a parameter was not chosen)."""


class SliceAnswer(Answer):
    """What slice plots need: for each parameter, its values against the objective."""

    objective: str
    direction: str
    slices: dict[str, list[dict[str, Any]]]
    """By path: number, param and value of each complete trial that has it."""


class HistoryAnswer(Answer):
    """How the search went: each complete trial and the best so far."""

    objective: str
    direction: str
    numbers: list[int]
    values: list[float]
    best: list[float]


class ParetoAnswer(Answer):
    """The complete, feasible trials that no other one beats in everything."""

    objectives: list[dict[str, Any]]
    items: list[TrialAnswer]


class RetentionAnswer(Answer):
    """What the retention removes."""

    retention: dict[str, int]
    dry_run: bool
    removed: list[dict[str, Any]]
    """id, job_id, epoch and size of each checkpoint that goes, or would go."""
    bytes: int
    warnings: list[str]
    """Files that were gone already."""
