"""Why a run cannot go on, in words a person can act on."""

from __future__ import annotations

import errno

import torch

from gogooku3.errors import DatasetError, DivergedError, Gogooku3Error
from gogooku3.events import FailureEvent

_NO_MEMORY = "use a smaller model, look-back or batch (batch.stocks_per_step), or a larger machine"


def failure_of(error: BaseException) -> FailureEvent:
    """The event that tells of an error."""
    if isinstance(error, Gogooku3Error):
        return FailureEvent(
            failure_class=error.failure_class,
            code=error.code,
            message=str(error),
            next_action=_next_action(error),
        )
    if _is_out_of_memory(error):
        return FailureEvent(
            failure_class="oom", code="oom", message=_first_line(error), next_action=_NO_MEMORY
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


def _next_action(error: Gogooku3Error) -> str | None:
    if isinstance(error, DivergedError):
        return "lower optimizer.lr, lengthen the warm-up or set optimizer.clip_norm"
    if isinstance(error, DatasetError):
        return "check the dataset with `gogooku3 data inspect`, or build it again"
    return None


def _is_out_of_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    # torch has no class of its own for the CPU allocator's failure.
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
