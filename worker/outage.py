"""Telling a database that is away for a moment from a fault."""

from __future__ import annotations

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, TimeoutError


def is_outage(error: BaseException) -> bool:
    """Whether the same transaction may well succeed a little later.

    True while the server restarts or does not answer, when a lock or the pool was not free in
    time, and when the server ended the session of a process that was suspended.
    """
    if isinstance(error, OperationalError | InterfaceError | TimeoutError):
        return True
    if isinstance(error, DBAPIError):
        return error.connection_invalidated
    # Optuna's storage wraps them in an error of its own.
    is_wrapped = type(error).__module__.partition(".")[0] == "optuna"
    return is_wrapped and error.__cause__ is not None and is_outage(error.__cause__)


def first_line(error: BaseException) -> str:
    """What to log of an error whose text has several lines."""
    return (str(error).splitlines() or [type(error).__name__])[0]
