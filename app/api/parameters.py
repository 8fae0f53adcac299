"""Parameters that endpoints share: identifiers in paths, pages of lists, known query names."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends, Header, Path, Query
from fastapi.routing import APIRoute
from starlette.requests import Request

from app.api.errors import QueryError, known_names_only
from app.api.problem import MEDIA_TYPE, Code
from gogooku3.config import Problem, pointer

ULID = "[0-9a-hjkmnp-tv-z]{26}"

JobId = Annotated[str, Path(pattern=f"^job_{ULID}$", examples=["job_01k8z3v8m4e9c2r7t5w6x0y1za"])]
SweepId = Annotated[str, Path(pattern=f"^swp_{ULID}$", examples=["swp_01k8z3v8m4e9c2r7t5w6x0y1za"])]
CheckpointId = Annotated[
    str, Path(pattern=f"^ckp_{ULID}$", examples=["ckp_01k8z3v8m4e9c2r7t5w6x0y1za"])
]
DatasetId = Annotated[str, Path(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$", examples=["jp"])]
PageSize = Annotated[int, Query(ge=1, le=1000)]
PageToken = Annotated[str | None, Query(max_length=2000)]
IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=255,
        pattern=r"^[\x21-\x7e]+$",
        description="Same key and same body: the stored first answer. Kept at least 24 hours.",
    ),
]


async def storable_query(request: Request) -> None:
    """Raise QueryError for parameters nothing reads and for characters nothing can store."""
    route = request.scope.get("route")
    if not isinstance(route, APIRoute):
        return
    given = request.query_params.multi_items()
    if not given:
        return
    known_names_only([name for name, _ in given], sorted(_query_names(route.dependant)))
    problems = [
        Problem(
            pointer(("query", name)),
            "nul-character",
            "must not contain the NUL character (%00)",
        )
        for name, value in given
        if "\x00" in value
    ]
    if problems:
        raise QueryError(problems)


StorableQuery = Depends(storable_query)


def _query_names(dependant: Any) -> set[str]:
    names = {field.alias for field in dependant.query_params}
    for inner in dependant.dependencies:
        names |= _query_names(inner)
    return names


_DESCRIPTIONS: dict[Code, str] = {
    400: "The body is not JSON",
    401: "No valid API key",
    403: "The API key lacks the scope",
    404: "No such thing",
    409: "The state does not allow this, or the same request is under way",
    410: "The file is gone from the server",
    412: "It has changed since the version that `If-Match` names",
    413: "The body is larger than 1 MiB",
    415: "The body is not declared as JSON",
    416: "The range lies outside the file",
    422: "The request is not valid; `errors` lists every problem",
    429: "Too many requests, or as many queued jobs as the API key may have",
    500: "A defect of the server",
    503: "A part of the server does not answer",
}


def problems(*codes: Code) -> dict[int | str, dict[str, Any]]:
    """The `responses` of an endpoint that can fail in these ways, beside the usual ones."""
    usual: tuple[Code, ...] = (401, 403, 422, 429, 500, 503)
    schema = {"$ref": "#/components/schemas/Problem"}
    return {
        code: {"description": _DESCRIPTIONS[code], "content": {MEDIA_TYPE: {"schema": schema}}}
        for code in sorted({*usual, *codes})
    }
