"""The words of the job server: states, the moves between them, and what can be wrong.

No HTTP and no database: the API maps these errors to problem+json in one place.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import ClassVar

from ulid import ULID

from gogooku3.config import Problem


class JobState(StrEnum):
    """Where a job is in its life."""

    QUEUED = "queued"
    """Accepted; waits for a slot."""
    RUNNING = "running"
    """A worker holds its lease."""
    PAUSED = "paused"
    """Put aside by a user; keeps its checkpoint."""
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    """`reason` says why and what to do."""
    CANCELLED = "cancelled"
    PRUNED = "pruned"
    """A sweep's pruner ended this trial."""

    @property
    def is_finished(self) -> bool:
        """Whether no move leads out of this state except a retry."""
        return self in FINISHED


FINISHED = frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED, JobState.PRUNED})

TRANSITIONS: dict[JobState, frozenset[JobState]] = {
    JobState.QUEUED: frozenset({JobState.RUNNING, JobState.CANCELLED, JobState.PAUSED}),
    JobState.RUNNING: frozenset(
        {
            JobState.SUCCEEDED,
            JobState.FAILED,
            JobState.CANCELLED,
            JobState.PRUNED,
            JobState.PAUSED,
            JobState.QUEUED,
        }
    ),
    JobState.PAUSED: frozenset({JobState.QUEUED, JobState.CANCELLED}),
    JobState.SUCCEEDED: frozenset(),
    JobState.FAILED: frozenset({JobState.QUEUED}),
    JobState.CANCELLED: frozenset({JobState.QUEUED}),
    JobState.PRUNED: frozenset(),
}
"""The only table of moves; `app.jobs.transition` is the only function that makes one."""


class SweepState(StrEnum):
    """Where a sweep is in its life."""

    RUNNING = "running"
    """Trials run or are to come."""
    PAUSED = "paused"
    """Put aside by a user: no new trials."""
    SUCCEEDED = "succeeded"
    """Every trial has ended, and one at least is complete."""
    FAILED = "failed"
    """`reason` says why and what to do."""
    CANCELLED = "cancelled"

    @property
    def is_finished(self) -> bool:
        """Whether only an extension leads out of this state."""
        return self not in {SweepState.RUNNING, SweepState.PAUSED}


class JobKind(StrEnum):
    """What a job does."""

    TRAIN = "train"
    """Trains a model on a dataset."""
    DATASET = "dataset"
    """Builds a dataset."""


class FailureClass(StrEnum):
    """Why an attempt ended other than well."""

    USER = "user"
    DATA = "data"
    DIVERGED = "diverged"
    OOM = "oom"
    KILLED = "killed"
    TIMEOUT = "timeout"
    LOST = "lost"
    INFRA = "infra"

    @property
    def is_retryable(self) -> bool:
        """Whether running the same job again can end differently."""
        return self in {FailureClass.KILLED, FailureClass.LOST, FailureClass.INFRA}


class Scope(StrEnum):
    """What an API key may do; each includes the ones before it."""

    READ = "read"
    SUBMIT = "submit"
    ADMIN = "admin"

    def includes(self, needed: Scope) -> bool:
        """Whether a key of this scope may do what needs `needed`."""
        order = list(Scope)
        return order.index(self) >= order.index(needed)


def new_id(prefix: str) -> str:
    """A prefixed, sortable identifier: `job_01j...` (a ULID in lower case)."""
    return f"{prefix}_{str(ULID()).lower()}"


class DomainError(Exception):
    """The request cannot be carried out."""

    code: ClassVar[str] = "error"

    def __init__(self, message: str | None = None) -> None:
        self.message = message or (type(self).__doc__ or "").strip().splitlines()[0]
        super().__init__(self.message)


class InvalidSpecError(DomainError):
    """The specification is not valid; `errors` names each field."""

    code = "invalid-spec"

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = list(problems)
        count = len(self.problems)
        super().__init__(f"{count} problem{'s' if count != 1 else ''} in the specification")


class NotFoundError(DomainError):
    """There is no such thing."""

    code = "not-found"


class NoCheckpointError(NotFoundError):
    """The job has not written a checkpoint yet."""

    code = "no-checkpoint"


class NoOutputError(NotFoundError):
    """The job has not written this output, or its model has none."""

    code = "no-output"


class NoCompleteTrialError(NotFoundError):
    """No trial of the sweep is complete yet."""

    code = "no-complete-trial"


class InvalidStateError(DomainError):
    """The state does not allow this."""

    code = "invalid-state"


class ChangedError(DomainError):
    """It has changed since it was read; read it again and repeat the change."""

    code = "changed"


class DatasetInUseError(DomainError):
    """Jobs need the dataset as it is."""

    code = "in-use"


class DatasetExistsError(DomainError):
    """There is a dataset of that name already."""

    code = "dataset-exists"


class IdempotencyMismatchError(DomainError):
    """This Idempotency-Key was used with another body; use a new key."""

    code = "idempotency-mismatch"


class IdempotencyInFlightError(DomainError):
    """A request with this Idempotency-Key is still being answered; try again shortly."""

    code = "idempotency-in-flight"


class UnauthenticatedError(DomainError):
    """Send a valid API key as `Authorization: Bearer gk_...`."""

    code = "unauthenticated"


class ForbiddenError(DomainError):
    """The API key lacks the scope that this needs."""

    code = "forbidden"


class TooManyJobsError(DomainError):
    """The API key has as many queued jobs as it may; wait for some to finish."""

    code = "too-many-jobs"


class TooManyWebhooksError(DomainError):
    """There are as many webhooks as there may be; delete one first."""

    code = "too-many-webhooks"


class TooManyRequestsError(DomainError):
    """Too many requests; wait as long as `Retry-After` says."""

    code = "too-many-requests"

    def __init__(self, message: str | None = None, *, retry_after_s: int = 1) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(message)


class StaleLeaseError(DomainError):
    """The attempt no longer holds the job's lease: it must stop and write nothing more."""

    code = "stale-lease"
