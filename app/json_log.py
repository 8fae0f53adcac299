"""Log lines as JSON objects, one a line, on standard error: of the API and of the worker."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime

FIELDS = (
    "request_id",
    "job_id",
    "attempt",
    "actor",
    "address",
    "method",
    "path",
    "status",
    "duration_ms",
    "webhook_id",
    "delivery_id",
)
"""What a log call may add with `extra`."""
_bound: ContextVar[dict[str, object] | None] = ContextVar("gogooku3_log_fields", default=None)


@contextmanager
def bind(**fields: object) -> Iterator[None]:
    """Put these fields on every line that is logged, in this thread, until the end of the block."""
    token = _bound.set({**(_bound.get() or {}), **fields})
    try:
        yield
    finally:
        _bound.reset(token)


class JsonLines(logging.Formatter):
    """A record as one JSON object."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        line: dict[str, object] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **(_bound.get() or {}),
        }
        for field in FIELDS:
            if hasattr(record, field):
                line[field] = getattr(record, field)
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def configure() -> None:
    """Send every logger of this process to standard error as JSON lines."""
    # Every request is a line: what no line shows is not found out either.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
