"""Why a child ended: its last words, its exit code and what we asked of it."""

from __future__ import annotations

import errno
import signal
from dataclasses import dataclass
from enum import StrEnum

from app.artifacts import StoreAwayError
from app.db import Json
from app.domain import DomainError, FailureClass
from app.jobs.outcome import PRUNED, Outcome
from gogooku3.errors import Gogooku3Error
from gogooku3.events import EndEvent, FailureEvent

EXIT_LEASE_LOST = 75


class Asked(StrEnum):
    """Why the supervisor asked the child to end."""

    CANCEL = "cancel"
    PAUSE = "pause"
    PRUNE = "prune"
    """The run is a sweep's trial, and too bad to go on."""
    TIMEOUT = "timeout"
    SHUTDOWN = "shutdown"
    STUCK = "stuck"
    """It no longer does anything."""
    LEASE = "lease"
    """The lease could not be renewed in time."""
    DATASET = "dataset"
    """The dataset is not, or no longer, the one that the job was submitted for."""


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
    objection: Json | None = None,
    timeout_s: int | None = None,
    stuck: str = "",
    last_line: str = "",
    who: str = "trainer",
    oom_kills: int = 0,
) -> Ending:
    """What the end of a child process means.

    `exit_code` is negative for a signal; `last` is its end or failure event, if it came;
    `objection` is why it had to end when its dataset changed, which explains whatever else went
    wrong; `stuck` is what the watchdog saw; `last_line` of the log is quoted where nothing better
    is known; `who` is the child; `oom_kills` is how many processes the kernel killed for memory
    while it ran.
    """
    if isinstance(last, EndEvent) and last.outcome != "interrupted":
        return Ending(Outcome.SUCCEEDED, None, exit_code)
    if asked is Asked.CANCEL:
        return Ending(Outcome.CANCELLED, None, exit_code)
    if objection is not None:
        return Ending(Outcome.FAILED, objection, exit_code)
    if isinstance(last, FailureEvent):
        return Ending(Outcome.FAILED, _reported(last), exit_code)
    if asked is Asked.TIMEOUT:
        return Ending(Outcome.FAILED, _timeout(timeout_s, who), exit_code)
    if asked is Asked.STUCK:
        return Ending(Outcome.FAILED, _stuck(stuck, who), exit_code)
    if asked is Asked.PRUNE:
        return Ending(Outcome.PRUNED, PRUNED, exit_code)
    if asked is Asked.PAUSE:
        return Ending(Outcome.PAUSED, None, exit_code)
    if asked is Asked.SHUTDOWN:
        return Ending(Outcome.RELEASED, None, exit_code)
    if asked is Asked.LEASE or exit_code == EXIT_LEASE_LOST:
        return Ending(Outcome.RELEASED, _lease_silent(who), exit_code)
    if isinstance(last, EndEvent):
        return Ending(Outcome.FAILED, _interrupted(who), exit_code)
    if (exit_code == -signal.SIGKILL and oom_kills) or "bad_alloc" in last_line:
        return Ending(Outcome.FAILED, _no_memory(exit_code, who), exit_code)
    if exit_code < 0:
        return Ending(Outcome.FAILED, _killed(-exit_code, who), exit_code)
    return Ending(Outcome.FAILED, _silent(exit_code, last_line, who), exit_code)


def fault(error: Exception) -> Ending:
    """The attempt failed on the worker's side: no disk, no process, or a defect of ours."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return Ending(
            Outcome.FAILED,
            _reason(
                FailureClass.INFRA,
                "disk-full",
                f"The worker's disk is full: {error}",
                "Make room on the disk that holds the artifacts (gogooku3 db prune), then retry.",
            ),
            None,
        )
    if isinstance(error, StoreAwayError):
        return Ending(
            Outcome.FAILED,
            _reason(
                FailureClass.INFRA,
                "artifacts-away",
                f"What the job left behind could not be brought to where it is kept: {error}",
                "Look at the object store and at the credentials for it: gogooku3 db doctor.",
            ),
            None,
        )
    return Ending(
        Outcome.FAILED,
        _reason(
            FailureClass.INFRA,
            "worker",
            f"The worker could not run the job: {type(error).__name__}: {error}",
            "Look at the worker's log, and at its disk, memory and process limits.",
        ),
        None,
    )


def _reason(failure: FailureClass, code: str, message: str, next_action: str | None) -> Json:
    return {"class": failure.value, "code": code, "message": message, "next_action": next_action}


def refusal(error: Gogooku3Error | DomainError) -> Ending:
    """The attempt cannot begin, or what it made cannot be used: an error in words for users."""
    failure = getattr(error, "failure_class", FailureClass.DATA.value)
    return Ending(
        Outcome.FAILED, _reason(FailureClass(failure), error.code, str(error), None), None
    )


def dataset_changed(what: str) -> Json:
    """The reason of a job whose dataset `what` happened to."""
    return _reason(
        FailureClass.DATA,
        "dataset-changed",
        f"The dataset {what}.",
        "Submit the job again, or put the dataset back.",
    )


def _lease_silent(who: str) -> Json:
    goes_on = "goes on from its last checkpoint" if who == "trainer" else "starts again"
    return {
        "class": "released",
        "code": "lease-silent",
        "message": f"The database did not answer for a whole lease, so the {who} stopped; the job "
        f"{goes_on}.",
        "next_action": None,
    }


def _interrupted(who: str) -> Json:
    wrote = ", wrote its resume state" if who == "trainer" else ""
    return _reason(
        FailureClass.KILLED,
        "interrupted",
        f"The {who} was asked to end from outside{wrote} and ended.",
        None,
    )


def _reported(event: FailureEvent) -> Json:
    try:
        failure = FailureClass(event.failure_class)
    except ValueError:
        failure = FailureClass.INFRA
    reason = _reason(failure, event.code, event.message, event.next_action)
    return reason | ({"findings": list(event.findings)} if event.findings else {})


def _timeout(timeout_s: int | None, who: str) -> Json:
    advice = "Raise limits.timeout_s or make the dataset smaller."
    if who == "trainer":
        advice = "Raise limits.timeout_s or train fewer epochs; the checkpoints so far are kept."
    return _reason(
        FailureClass.TIMEOUT,
        "timeout",
        f"The attempt ran longer than limits.timeout_s = {timeout_s}.",
        advice,
    )


def _stuck(what: str, who: str) -> Json:
    return _reason(
        FailureClass.INFRA,
        "stuck",
        f"The {who} {what}, so it was killed.",
        "Look at the job's log, and at who suspends processes or at a file system that hangs.",
    )


def _killed(number: int, who: str) -> Json:
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = f"signal {number}"
    advice = None
    if number == signal.SIGKILL:
        smaller = "model or batch" if who == "trainer" else "dataset"
        advice = f"If the system ran out of memory, use a smaller {smaller}, or more memory."
    return _reason(
        FailureClass.KILLED, "killed", f"The {who} was killed by {name} ({number}).", advice
    )


def _no_memory(exit_code: int, who: str) -> Json:
    ended = "was killed by the system" if exit_code == -signal.SIGKILL else "ended"
    smaller = "model, look-back or batch" if who == "trainer" else "dataset"
    return _reason(
        FailureClass.OOM,
        "oom-killed",
        f"The {who} {ended} for lack of memory.",
        f"Use a smaller {smaller}, or more memory; with limits.memory_mb below the machine's the "
        "trainer meets the limit itself and tells which batch would fit."
        if who == "trainer"
        else f"Use a smaller {smaller}, or more memory.",
    )


def _silent(exit_code: int, last_line: str, who: str) -> Json:
    told = f"; its last line was: {last_line}" if last_line else ""
    return _reason(
        FailureClass.INFRA,
        "exit",
        f"The {who} ended with exit code {exit_code} without saying why{told}.",
        "Read the job's log.",
    )
