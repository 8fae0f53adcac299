"""Why a run cannot go on, in words a person can act on."""

from __future__ import annotations

import errno

from gogooku3.errors import DatasetError, DivergedError, Gogooku3Error
from gogooku3.events import FailureEvent
from gogooku3.training.memory import MIB, asked_bytes, is_out_of_memory
from gogooku3.training.probe import Search

_NO_MEMORY = "use a smaller model, look-back or batch (batch.stocks_per_step), or a larger machine"


def failure_of(error: BaseException) -> FailureEvent:
    """The event that tells of an error."""
    if isinstance(error, Gogooku3Error):
        return FailureEvent(
            failure_class=error.failure_class,
            code=error.code,
            message=str(error),
            next_action=_next_action(error),
            findings=error.findings,
        )
    if is_out_of_memory(error):
        asked = asked_bytes(error)
        more = f" when it asked for {asked / MIB:.0f} MiB more" if asked else ""
        return FailureEvent(
            failure_class="oom",
            code="oom",
            message=f"the trainer ran out of memory{more}: {_first_line(error)}",
            next_action=_NO_MEMORY,
        )
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return FailureEvent(
            failure_class="infra",
            code="disk-full",
            message=str(error),
            next_action="make room on the disk that holds the artifacts, then retry",
        )
    return FailureEvent(
        failure_class="infra",
        code="internal",
        message=f"{type(error).__name__}: {_first_line(error)}",
        next_action="see the job's log for the traceback",
    )


def with_fit(failure: FailureEvent, search: Search) -> FailureEvent:
    """A failure for lack of memory that tells of the largest batch that would fit."""
    fit = search.fit
    if fit is None:
        found = (
            "no smaller batch fitted either"
            if search.is_whole
            else "the search for a batch that fits was not finished"
        )
        action = f"{found}: use a smaller model, look-back or batch, or more memory"
        return failure.model_copy(update={"next_action": action})
    if fit.is_asked:
        action = (
            "the batch itself fits, measured: what did not is the scoring of whole days; use a "
            "smaller model or look-back, or more memory"
        )
        return failure.model_copy(update={"next_action": action})
    settings = ", ".join(f"{name} = {value}" for name, value in fit.changes.items())
    return failure.model_copy(
        update={
            "next_action": f"set {settings}: the largest batch that fitted, measured",
            "findings": ({"largest_fit": fit.changes},),
        }
    )


def _next_action(error: Gogooku3Error) -> str | None:
    if isinstance(error, DivergedError):
        return "lower optimizer.lr, lengthen the warm-up or set optimizer.clip_norm"
    if isinstance(error, DatasetError):
        return "check the dataset with `gogooku3 data inspect`, or build it again"
    return None


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
