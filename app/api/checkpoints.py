"""Checkpoints: lists, metadata, the best and the last, and the files themselves."""

from __future__ import annotations

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from app.api.answers import CheckpointAnswer, CheckpointPage
from app.api.auth import reader
from app.api.etag import NOT_MODIFIED, cacheable
from app.api.files import file_answer
from app.api.parameters import CheckpointId, JobId, StorableQuery, problems
from app.api.problem import problem
from app.api.server import ServerDep
from app.artifacts import MissingFileError
from app.jobs import read

router = APIRouter(
    prefix="/v1", tags=["checkpoints"], dependencies=[Depends(reader), StorableQuery]
)


@router.get(
    "/jobs/{job_id}/checkpoints",
    summary="List a job's checkpoints",
    response_model=CheckpointPage,
    responses={**NOT_MODIFIED, **problems(404)},
)
def list_checkpoints(request: Request, server: ServerDep, job_id: JobId) -> Response:
    """Newest first."""
    with server.database.reading() as session:
        rows = read.checkpoints(session, job_id)
        items = [CheckpointAnswer.model_validate(row) for row in rows]
    return cacheable(request, CheckpointPage(items=items))


REDIRECT = {
    307: {
        "description": "`Location` is the content of the checkpoint",
        "headers": {"Location": {"schema": {"type": "string"}}},
    },
    **problems(404),
}


@router.get(
    "/jobs/{job_id}/checkpoints/best",
    summary="Go to the best checkpoint's content",
    status_code=307,
    response_class=RedirectResponse,
    responses=REDIRECT,
)
def best_checkpoint(server: ServerDep, job_id: JobId) -> str:
    """Best by the job's early-stopping metric; 404 `no-checkpoint` before the first."""
    with server.database.reading() as session:
        return content_path(read.best_checkpoint(session, job_id).id)


@router.get(
    "/jobs/{job_id}/checkpoints/last",
    summary="Go to the newest checkpoint's content",
    status_code=307,
    response_class=RedirectResponse,
    responses=REDIRECT,
)
def last_checkpoint(server: ServerDep, job_id: JobId) -> str:
    """404 `no-checkpoint` before the first."""
    with server.database.reading() as session:
        return content_path(read.last_checkpoint(session, job_id).id)


@router.get(
    "/checkpoints/{checkpoint_id}",
    summary="Look at a checkpoint",
    response_model=CheckpointAnswer,
    responses={**NOT_MODIFIED, **problems(404)},
)
def get_checkpoint(request: Request, server: ServerDep, checkpoint_id: CheckpointId) -> Response:
    """Epoch, metrics, size and sha256; not the file."""
    with server.database.reading() as session:
        answer = CheckpointAnswer.model_validate(read.checkpoint(session, checkpoint_id))
    return cacheable(request, answer)


@router.head("/checkpoints/{checkpoint_id}/content", include_in_schema=False)
@router.get(
    "/checkpoints/{checkpoint_id}/content",
    summary="Download a checkpoint",
    response_class=Response,
    responses={
        200: {
            "description": "The `.gk3` file; `ETag` is its sha256",
            "content": {
                "application/octet-stream": {"schema": {"type": "string", "format": "binary"}}
            },
        },
        206: {"description": "The span that `Range` asks for"},
        **NOT_MODIFIED,
        **problems(404, 410, 416),
    },
)
def get_content(request: Request, server: ServerDep, checkpoint_id: CheckpointId) -> Response:
    """One file, whole or by `Range`, so that a broken download can go on."""
    with server.database.reading() as session:
        row = read.checkpoint(session, checkpoint_id)
        path, sha256 = row.path, row.sha256
        filename = f"{row.job_id}-epoch-{row.epoch:04d}.gk3"
    try:
        file = server.artifacts.open(path)
    except MissingFileError:
        return problem(
            request, 410, "checkpoint-gone", "The checkpoint's file is no longer on the server."
        )
    headers = {"Content-Disposition": f'attachment; filename="{filename}"'}
    return file_answer(request, file, etag=sha256, headers=headers)


def content_path(checkpoint_id: str) -> str:
    """Where the file of a checkpoint is served."""
    return f"/v1/checkpoints/{checkpoint_id}/content"
