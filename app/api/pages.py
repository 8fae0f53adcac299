"""The web pages: one document that every page address answers with, and the files it is made of.

The pages hold no data. What they show they ask of the public API, with the key of whoever looks.
"""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from fastapi import APIRouter
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from app.api.etag import matches

FOLDER = Path(__file__).parents[1] / "web"
SHELL = "shell.html"
PLOTLY = "plotly.js"
TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
}
ADDRESSES = (
    "/",
    "/jobs/{job_id}",
    "/sweeps",
    "/sweeps/{sweep_id}",
    "/datasets",
    "/datasets/{dataset_id}",
    "/compare",
    "/queue",
    "/submit",
    "/docs",
)
"""Where a person may go; which page it is, the document's script reads from the address."""
SMALLEST_PACKED = 1024
"""Bytes below which compressing costs more than it saves."""

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data: blob:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
SECURITY = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True)
class File:
    """A file as it is sent."""

    content: bytes
    packed: bytes | None
    """The same by gzip; None where that is not worth it."""
    media_type: str
    etag: str


def shell(request: Request) -> Response:
    """The document behind every page address."""
    return _answer(request, _shell(), {**SECURITY, "Cache-Control": "no-cache"})


for address in ADDRESSES:
    router.get(address, name=f"page {address}")(shell)


@router.get("/web/{release}/{name:path}")
def asset(request: Request, release: str, name: str) -> Response:
    """A file of the pages; its address names the release of all of them, so it never changes."""
    files = _files()
    if release != _release() or (name != PLOTLY and name not in files):
        raise HTTPException(404)
    file = _plotly() if name == PLOTLY else files[name]
    kept = {"Cache-Control": "public, max-age=31536000, immutable"}
    return _answer(request, file, {**SECURITY, **kept})


def _answer(request: Request, file: File, headers: dict[str, str]) -> Response:
    headers = {**headers, "ETag": file.etag, "Vary": "Accept-Encoding"}
    if matches(request.headers.get("if-none-match"), file.etag):
        return Response(status_code=304, headers=headers)
    if file.packed is not None and "gzip" in request.headers.get("accept-encoding", ""):
        headers["Content-Encoding"] = "gzip"
        return Response(file.packed, 200, headers, media_type=file.media_type)
    return Response(file.content, 200, headers, media_type=file.media_type)


@cache
def _files() -> dict[str, File]:
    """Every file of the pages by its path below the folder."""
    paths = sorted(path for path in FOLDER.rglob("*") if path.suffix in TYPES)
    return {
        path.relative_to(FOLDER).as_posix(): _file(path.read_bytes(), path.suffix) for path in paths
    }


@cache
def _shell() -> File:
    """The document, with the addresses of its files filled in."""
    text = _files()[SHELL].content.replace(b"{{files}}", f"/web/{_release()}".encode())
    return _file(text, ".html")


@cache
def _release() -> str:
    """Names the pages' files as they are, and the charts' release."""
    digest = hashlib.sha256(version("plotly").encode())
    for name, file in _files().items():
        digest.update(f"{name} {file.etag}\n".encode())
    return digest.hexdigest()[:16]


@cache
def _plotly() -> File:
    """plotly.js as its Python package ships it."""
    return _file(_plotly_path().read_bytes(), ".js")


def _plotly_path() -> Path:
    # Found, not imported: the package itself takes a while to load and is not needed.
    found = find_spec("plotly")
    assert found is not None
    assert found.submodule_search_locations
    return Path(found.submodule_search_locations[0]) / "package_data" / "plotly.min.js"


def _file(content: bytes, suffix: str) -> File:
    packed = gzip.compress(content, 6, mtime=0) if len(content) >= SMALLEST_PACKED else None
    etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    return File(content, packed, TYPES[suffix], etag)
