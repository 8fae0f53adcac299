"""The one place where what went wrong becomes an HTTP answer."""

from __future__ import annotations

import difflib
import logging
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from app.api.body import BodyNotJsonError
from app.api.problem import problem, request_id
from app.artifacts import StoreAwayError
from app.domain import (
    ChangedError,
    DatasetExistsError,
    DatasetInUseError,
    DomainError,
    ForbiddenError,
    IdempotencyInFlightError,
    IdempotencyMismatchError,
    InvalidSpecError,
    InvalidStateError,
    NotFoundError,
    StaleLeaseError,
    TooManyJobsError,
    TooManyRequestsError,
    TooManyWebhooksError,
    UnauthenticatedError,
)
from app.sweeps.definition import OutdatedSweepError
from gogooku3.config import Problem, pointer
from gogooku3.errors import DatasetError, DatasetNotFoundError

log = logging.getLogger("gogooku3.api")

STATUS_OF: dict[type[Exception], int] = {
    InvalidSpecError: 422,
    IdempotencyMismatchError: 422,
    NotFoundError: 404,
    InvalidStateError: 409,
    ChangedError: 412,
    DatasetInUseError: 409,
    DatasetExistsError: 409,
    IdempotencyInFlightError: 409,
    StaleLeaseError: 409,
    OutdatedSweepError: 409,
    UnauthenticatedError: 401,
    ForbiddenError: 403,
    TooManyJobsError: 429,
    TooManyRequestsError: 429,
    TooManyWebhooksError: 409,
    DatasetNotFoundError: 404,
    DatasetError: 409,
}
"""The nearest class of the error's own decides, so a subclass needs no line of its own."""

HEADERS_OF: dict[type[Exception], dict[str, str]] = {
    UnauthenticatedError: {"WWW-Authenticate": 'Bearer realm="gogooku3"'},
    TooManyJobsError: {"Retry-After": "30"},
    IdempotencyInFlightError: {"Retry-After": "1"},
}

CODE_OF_STATUS = {
    400: "bad-request",
    403: "forbidden",
    404: "not-found",
    405: "method-not-allowed",
    413: "body-too-large",
    415: "unsupported-media-type",
}


class QueryError(Exception):
    """A query parameter or header is not valid; `problems` names each."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = problems
        super().__init__(", ".join(found.message for found in problems))


def install(app: FastAPI) -> None:
    """Make every error of the app a problem+json answer."""
    app.exception_handler(DomainError)(_domain)
    app.exception_handler(DatasetError)(_domain)
    app.exception_handler(RequestValidationError)(_validation)
    app.exception_handler(QueryError)(_query)
    app.exception_handler(BodyNotJsonError)(_not_json)
    app.exception_handler(HTTPException)(_http)
    app.exception_handler(DBAPIError)(_database)
    app.exception_handler(PoolTimeoutError)(_database)
    app.exception_handler(StoreAwayError)(_store)


def _nearest(error: Exception, table: dict[type[Exception], Any], otherwise: Any) -> Any:
    return next((table[kind] for kind in type(error).__mro__ if kind in table), otherwise)


def _domain(request: Request, error: Exception) -> Response:
    assert isinstance(error, DomainError | DatasetError)
    status = _nearest(error, STATUS_OF, 500)
    if status == 500:
        raise error
    errors = error.problems if isinstance(error, InvalidSpecError) else None
    headers = _nearest(error, HEADERS_OF, {})
    if isinstance(error, TooManyRequestsError):
        headers = {"Retry-After": str(error.retry_after_s)}
    return problem(request, status, error.code, str(error), errors=errors, headers=headers)


def _validation(request: Request, error: Exception) -> Response:
    """What FastAPI found in path and query; bodies are checked by the use-cases."""
    assert isinstance(error, RequestValidationError)
    found = error.errors()
    if bad := [item for item in found if item["loc"][0] == "path"]:
        # `job_id` in the path: what stands there cannot be the id of any job.
        words = [
            f"no {str(item['loc'][1]).removesuffix('_id')} can be called {item['input']!r}"
            for item in bad
        ]
        return problem(request, 404, NotFoundError.code, "; ".join(words))
    problems = [
        Problem(
            pointer(tuple(item["loc"])),
            str(item["type"]).replace("_", "-"),
            f"{item['msg'][:1].lower()}{item['msg'][1:]}; given {item.get('input')!r}",
        )
        for item in found
    ]
    return _invalid_request(request, problems)


def _query(request: Request, error: Exception) -> Response:
    assert isinstance(error, QueryError)
    return _invalid_request(request, error.problems)


def _invalid_request(request: Request, problems: list[Problem]) -> Response:
    count = len(problems)
    detail = f"{count} problem{'s' if count != 1 else ''} in the request"
    return problem(request, 422, "invalid-request", detail, errors=problems)


def _not_json(request: Request, error: Exception) -> Response:
    return problem(request, 400, "invalid-json", str(error))


def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    status = error.status_code
    detail = error.detail
    if status == 404:
        detail = f"Nothing is served at {request.url.path}; see /docs."
    if status == 405:
        detail = f"{request.url.path} does not take {request.method}; see /docs."
    code = CODE_OF_STATUS.get(status, "error")
    return problem(request, status, code, detail, headers=error.headers)


def _database(request: Request, error: Exception) -> Response:
    is_away = isinstance(error, OperationalError | PoolTimeoutError) or (
        isinstance(error, DBAPIError) and error.connection_invalidated
    )
    if not is_away:
        raise error
    log.warning("database unavailable: %s", error, extra={"request_id": request_id(request)})
    return problem(
        request,
        503,
        "unavailable",
        "The database does not answer; try again shortly.",
        headers={"Retry-After": "2"},
    )


def _store(request: Request, error: Exception) -> Response:
    log.warning("%s", error, extra={"request_id": request_id(request)})
    detail = "The object store does not answer; try again shortly."
    return problem(request, 503, "unavailable", detail, headers={"Retry-After": "2"})


def known_names_only(given: list[str], known: list[str]) -> None:
    """Raise QueryError for query parameters that nothing reads, naming the nearest known one."""
    problems = []
    for name in dict.fromkeys(given):
        if name in known:
            continue
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        listed = f"known are: {', '.join(known)}" if known else "none is known here"
        hint = f"did you mean {near[0]!r}?" if near else listed
        message = f"unknown parameter {name!r}; {hint}"
        problems.append(Problem(pointer(("query", name)), "unknown-parameter", message))
    if problems:
        raise QueryError(problems)
