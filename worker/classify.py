"""Why a trainer ended: its last words, its exit code and what we asked of it."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from enum import StrEnum

from app.db import Json
from app.domain import FailureClass
from app.jobs.outcome import Outcome
from gogooku3.events import EndEvent, FailureEvent

EXIT_LEASE_LOST = 75


class Asked(StrEnum):
    """Why the supervisor asked the trainer to end."""

    CANCEL = "cancel"
    TIMEOUT = "timeout"
    SHUTDOWN = "shutdown"
    LEASE = "lease"
    """The lease could not be renewed in time."""
    DATASET = "dataset"
    """The dataset is not the one that the job was submitted for."""


@dataclass(frozen=True)
class Ending:
    """How an attempt ended, as `app.jobs.finish` wants to hear it."""

    outcome: Outcome
    reason: Json | None
    exit_code: int | None


def classify(
    exit_code: int,
    *,
    last: EndEvent | FailureEvent | None,
    asked: Asked | None,
    timeout_s: int | None = None,
    last_line: str = "",
) -> Ending:
    """What the end of a trainer process means.

    `exit_code` is negative for a signal; `last` is its end or failure event, if it came;
    `last_line` of the log is quoted where nothing better is known.
    """
    if isinstance(last, EndEvent) and last.outcome != "interrupted":
        return Ending(Outcome.SUCCEEDED, None, exit_code)
    if asked is Asked.CANCEL:
        return Ending(Outcome.CANCELLED, None, exit_code)
    if isinstance(last, FailureEvent):
        return Ending(Outcome.FAILED, _reported(last), exit_code)
    if asked is Asked.TIMEOUT:
        return Ending(Outcome.FAILED, _timeout(timeout_s), exit_code)
    if asked is Asked.DATASET:
        return Ending(Outcome.FAILED, DATASET_CHANGED, exit_code)
    if asked is Asked.SHUTDOWN:
        return Ending(Outcome.RELEASED, None, exit_code)
    if asked is Asked.LEASE or exit_code == EXIT_LEASE_LOST:
        return Ending(Outcome.RELEASED, LEASE_SILENT, exit_code)
    if isinstance(last, EndEvent):
        return Ending(Outcome.FAILED, INTERRUPTED, exit_code)
    if exit_code < 0:
        return Ending(Outcome.FAILED, _killed(-exit_code), exit_code)
    return Ending(Outcome.FAILED, _silent(exit_code, last_line), exit_code)


def fault(error: Exception) -> Ending:
    """The attempt failed on the worker's side: no disk, no process, or a defect of ours."""
    return Ending(
        Outcome.FAILED,
        _reason(
            FailureClass.INFRA,
            "worker",
            f"The worker could not run the trainer: {type(error).__name__}: {error}",
            "Look at the worker's log, and at its disk, memory and process limits.",
        ),
        None,
    )


def _reason(failure: FailureClass, code: str, message: str, next_action: str | None) -> Json:
    return {"class": failure.value, "code": code, "message": message, "next_action": next_action}


LEASE_SILENT: Json = {
    "class": "released",
    "code": "lease-silent",
    "message": "The database did not answer for a whole lease, so the trainer stopped; the job "
    "goes on from its last checkpoint.",
    "next_action": None,
}
INTERRUPTED = _reason(
    FailureClass.KILLED,
    "interrupted",
    "The trainer was asked to end from outside, wrote its resume state and ended.",
    None,
)
DATASET_CHANGED = _reason(
    FailureClass.DATA,
    "dataset-changed",
    "The dataset is not the one that the job was submitted for: its fingerprint differs.",
    "Submit the job again, or put the dataset back.",
)


def _reported(event: FailureEvent) -> Json:
    try:
        failure = FailureClass(event.failure_class)
    except ValueError:
        failure = FailureClass.INFRA
    return _reason(failure, event.code, event.message, event.next_action)


def _timeout(timeout_s: int | None) -> Json:
    return _reason(
        FailureClass.TIMEOUT,
        "timeout",
        f"The attempt ran longer than limits.timeout_s = {timeout_s}.",
        "Raise limits.timeout_s or train fewer epochs; the checkpoints so far are kept.",
    )


def _killed(number: int) -> Json:
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = f"signal {number}"
    advice = None
    if number == signal.SIGKILL:
        advice = "If the system ran out of memory, use a smaller model or batch, or more memory."
    return _reason(
        FailureClass.KILLED, "killed", f"The trainer was killed by {name} ({number}).", advice
    )


def _silent(exit_code: int, last_line: str) -> Json:
    told = f"; its last line was: {last_line}" if last_line else ""
    return _reason(
        FailureClass.INFRA,
        "exit",
        f"The trainer ended with exit code {exit_code} without saying why{told}.",
        "Read the job's log.",
    )
