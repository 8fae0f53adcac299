"""Errors as one clear line and an exit code: 1 = it went wrong, 2 = it was asked wrongly."""

from __future__ import annotations

import os
import sys
import traceback

from app.cli.console import note

FAILED = 1
MISUSED = 2


class CommandError(Exception):
    """The command cannot do what it was asked; the message says why and what to do."""

    exit_code = FAILED


class UsageError(CommandError):
    """The command was called wrongly."""

    exit_code = MISUSED


def explain(error: Exception, *, with_traceback: bool) -> int:
    """Print what went wrong to standard error; returns the exit code."""
    if with_traceback:
        traceback.print_exception(error)
    if isinstance(error, BrokenPipeError):
        # The reader (`head`, say) has seen enough; what is still buffered has nowhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    note(f"error: {_text(error)}")
    return _exit_code(error)


def _text(error: Exception) -> str:
    if _is_expected(error):
        return str(error).strip() or type(error).__name__
    kind = type(error).__name__
    return f"{kind}: {error} (run `gogooku3 --traceback ...` to see where)"


def _exit_code(error: Exception) -> int:
    # Loaded here only: an error is rare, and each of these takes a while to load.
    from gogooku3.client import ApiError
    from gogooku3.errors import ConfigError

    if isinstance(error, CommandError):
        return error.exit_code
    if isinstance(error, ConfigError) or _is_settings_error(error):
        return MISUSED
    # The server refused what it was asked, before anything was done.
    return MISUSED if isinstance(error, ApiError) and error.status in {400, 422} else FAILED


def _is_expected(error: Exception) -> bool:
    """Whether the error's own words are meant for a person."""
    from app.artifacts import StoreAwayError
    from app.cli.stack import StackError
    from app.db.backup import BackupError
    from app.domain import DomainError
    from app.embedded.home import HomeInUseError, NotRunningError
    from app.embedded.process import EmbeddedServerError
    from gogooku3.client import ClientError
    from gogooku3.errors import Gogooku3Error

    expected = (
        BackupError,
        CommandError,
        ClientError,
        DomainError,
        EmbeddedServerError,
        FileNotFoundError,
        Gogooku3Error,
        HomeInUseError,
        NotRunningError,
        PermissionError,
        StackError,
        StoreAwayError,
    )
    return isinstance(error, expected) or _is_settings_error(error)


def _is_settings_error(error: Exception) -> bool:
    from pydantic import ValidationError

    return isinstance(error, ValidationError) and error.title == "Settings"
