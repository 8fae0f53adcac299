"""The shape of every error answer: problem+json (RFC 9457), with every problem at once."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict
from starlette.requests import Request
from starlette.responses import Response

from gogooku3.config import Problem

MEDIA_TYPE = "application/problem+json"
LONGEST_MESSAGE = 500
"""Characters of one message; a client's megabyte is not sent back to it."""


class FieldProblem(BaseModel):
    """One thing wrong with a request."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    pointer: str
    """JSON pointer into the request's body; `/query/NAME` or `/header/NAME` for those parts."""
    code: str
    """Stable and machine-readable."""
    message: str
    """For people: what is wrong and what would be right."""


class ProblemAnswer(BaseModel):
    """An error (RFC 9457). `code` is stable; `title` and `detail` are for people."""

    model_config = ConfigDict(title="Problem", use_attribute_docstrings=True)

    type: str
    """`urn:gogooku3:problem:` and the code."""
    title: str
    status: int
    code: str
    detail: str
    instance: str
    """Path of the request."""
    request_id: str
    """Also in the `X-Request-Id` header and in the server's log."""
    errors: list[FieldProblem] | None = None
    """Every problem found, where the request itself is at fault."""
    checks: dict[str, str] | None = None
    """What `/readyz` found, per part of the stack; `ok` or what is wrong."""


Code = Literal[400, 401, 403, 404, 405, 409, 410, 412, 413, 415, 416, 422, 429, 500, 503]


def request_id(request: Request) -> str:
    """The identifier that the envelope gave this request."""
    return str(request.scope.get("gogooku3.request_id", ""))


def problem(
    request: Request,
    status: int,
    code: str,
    detail: str,
    *,
    errors: Sequence[Problem] | None = None,
    headers: Mapping[str, str] | None = None,
    checks: Mapping[str, str] | None = None,
) -> Response:
    """An error answer."""
    body: dict[str, Any] = {
        "type": f"urn:gogooku3:problem:{code}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "code": code,
        "detail": shortened(detail),
        "instance": request.url.path,
        "request_id": request_id(request),
    }
    if errors is not None:
        body["errors"] = [
            {"pointer": shortened(e.pointer), "code": e.code, "message": shortened(e.message)}
            for e in errors
        ]
    if checks is not None:
        body["checks"] = dict(checks)
    # ASCII only: what a client sent may hold lone surrogates, which UTF-8 cannot.
    content = json.dumps(body).encode("ascii")
    return Response(content, status, headers, media_type=MEDIA_TYPE)


def shortened(text: str) -> str:
    """`text`, cut in the middle when it is too long to send back."""
    if len(text) <= LONGEST_MESSAGE:
        return text
    half = LONGEST_MESSAGE // 2
    return f"{text[:half]} [...] {text[-half:]}"
