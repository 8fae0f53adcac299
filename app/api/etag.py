"""Cheap polling: an answer carries its own hash, and a client that has it gets 304."""

from __future__ import annotations

import hashlib
from typing import Any

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response


def cacheable(request: Request, answer: BaseModel) -> Response:
    """The answer with its ETag, or 304 when the client's `If-None-Match` names it."""
    content = answer.model_dump_json().encode()
    etag = tag_of(content)
    return fresh(etag) if unchanged(request, etag) else fresh(etag, content)


def tag_of(*parts: object) -> str:
    """An ETag for everything that `parts` tell apart."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part if isinstance(part, bytes) else f"{part}\x1f".encode())
    return f'"{digest.hexdigest()[:32]}"'


def unchanged(request: Request, etag: str) -> bool:
    """Whether the client has this already."""
    return matches(request.headers.get("if-none-match"), etag)


def fresh(etag: str, content: bytes | None = None) -> Response:
    """JSON under its ETag; without content, 304."""
    # no-cache means: keep it, but ask again before using it.
    headers = {"ETag": etag, "Cache-Control": "private, no-cache"}
    if content is None:
        return Response(status_code=304, headers=headers)
    return Response(content, 200, headers, media_type="application/json")


def matches(given: str | None, etag: str) -> bool:
    """Whether a condition such as `If-None-Match` names this ETag (weak comparison)."""
    if given is None:
        return False
    names = [name.strip().removeprefix("W/") for name in given.split(",")]
    return etag in names or "*" in names


NOT_MODIFIED: dict[int | str, dict[str, Any]] = {
    304: {"description": "The client's copy, named by `If-None-Match`, is current"}
}
