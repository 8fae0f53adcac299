"""What a trainer leaves beside its checkpoints: predictions, daily series, feature weights."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import IO, Annotated, TypeVar

import pyarrow as pa
from fastapi import APIRouter, Depends, Query
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from app.api.answers import (
    DailyAnswer,
    DailyValues,
    FeatureWeight,
    ImportanceAnswer,
    OutputsAnswer,
)
from app.api.auth import reader
from app.api.errors import QueryError
from app.api.etag import NOT_MODIFIED, cacheable, matches
from app.api.parameters import JobId, StorableQuery, problems
from app.api.server import Server, ServerDep
from app.artifacts import MissingFileError, StoredFile
from app.domain import NoOutputError
from app.jobs import read
from gogooku3.config import Problem
from gogooku3.outputs import (
    PREDICTIONS_FILE,
    SELECTION_FILE,
    SERIES_FILE,
    Predictions,
    read_series,
)

ARROW = "application/vnd.apache.arrow.stream"
Read = TypeVar("Read")

router = APIRouter(prefix="/v1/jobs", tags=["jobs"], dependencies=[Depends(reader), StorableQuery])

_ARROW_CONTENT = {ARROW: {"schema": {"type": "string", "format": "binary"}}}


@router.get(
    "/{job_id}/outputs",
    summary="See which outputs a job has",
    response_model=OutputsAnswer,
    responses={**NOT_MODIFIED, **problems(404)},
)
def get_outputs(request: Request, server: ServerDep, job_id: JobId) -> Response:
    """Whether `/daily`, `/predictions` and `/importance` have something to answer with: none has
    before the first epoch, and not every model weighs its features.
    """
    with server.database.reading() as session:
        folders = read.output_folders(session, job_id)

    def has(name: str) -> bool:
        found = _find(server, folders, name)
        if found is not None:
            found.close()
        return found is not None

    answer = OutputsAnswer(
        job_id=job_id,
        daily=has(SERIES_FILE),
        predictions=has(PREDICTIONS_FILE),
        importance=has(SELECTION_FILE),
    )
    return cacheable(request, answer)


@router.get(
    "/{job_id}/predictions",
    summary="Download a job's predictions",
    response_class=Response,
    responses={
        200: {"description": "An Arrow IPC stream", "content": _ARROW_CONTENT},
        **NOT_MODIFIED,
        **problems(404),
    },
)
def get_predictions(
    request: Request,
    server: ServerDep,
    job_id: JobId,
    horizon: Annotated[
        int | None, Query(ge=1, le=252, description="Only this horizon; default: all of them")
    ] = None,
) -> Response:
    """Scores of the best epoch so far on the validation split: date, code, horizon, score, label.

    The label is the raw forward return over the horizon, null where unknown. The stream's metadata
    has `epoch` and `split`. 404 `no-output` before the first epoch.
    """
    stored = _open(server, job_id, PREDICTIONS_FILE)
    file = stored.stream()
    try:
        etag = f'"{stored.version}-{horizon or 0}"'
        headers = {"ETag": etag, "Cache-Control": "private, no-cache"}
        if matches(request.headers.get("if-none-match"), etag):
            file.close()
            return Response(status_code=304, headers=headers)
        predictions = _readable(job_id, lambda: Predictions(file))
        horizons = predictions.horizons
        if horizon is not None:
            _known("horizon", [str(horizon)], [str(h) for h in horizons])
            horizons = [horizon]
    except BaseException:
        file.close()
        raise
    headers["Content-Disposition"] = f'attachment; filename="{job_id}-predictions.arrows"'
    return ArrowStream(file, predictions.stream(horizons), headers)


@router.get(
    "/{job_id}/daily",
    summary="Read a job's daily series",
    response_model=DailyAnswer,
    responses={
        200: {"description": "JSON, or an Arrow IPC stream", "content": _ARROW_CONTENT},
        **NOT_MODIFIED,
        **problems(404),
    },
)
def get_daily(
    request: Request,
    server: ServerDep,
    job_id: JobId,
    names: Annotated[
        list[str] | None,
        Query(
            description="Names such as `rank_ic@5` or `rank_ic`, repeated or separated by commas"
        ),
    ] = None,
) -> Response:
    """One value a day and horizon of `ic`, `rank_ic`, `long_short`, `long_short_net`, `turnover`,
    `hit_rate`, `base_rate` and `stocks`: what every metric of the best epoch so far is made of.

    As an Arrow stream when `Accept` asks for `application/vnd.apache.arrow.stream`. 404 `no-output`
    before the first epoch.
    """
    with _open(server, job_id, SERIES_FILE).stream() as file:
        table = _readable(job_id, lambda: read_series(file))
    columns = table.column_names[1:]
    if names is not None:
        wanted = {name.strip() for item in names for name in item.split(",")} - {""}
        bare = {name.partition("@")[0] for name in columns}
        _known("names", sorted(wanted), [*sorted(bare), *columns])
        columns = [n for n in columns if n in wanted or n.partition("@")[0] in wanted]
    if ARROW in request.headers.get("accept", ""):
        chosen = table.select(["date", *columns])
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, chosen.schema) as writer:
            writer.write_table(chosen)
        return Response(sink.getvalue().to_pybytes(), media_type=ARROW, headers={"Vary": "Accept"})
    metadata = table.schema.metadata
    answer = DailyAnswer(
        job_id=job_id,
        split=metadata[b"split"].decode(),
        epoch=int(metadata[b"epoch"]),
        dates=table["date"].to_pylist(),
        series=[DailyValues(name=n, values=table[n].to_pylist()) for n in columns],
    )
    response = cacheable(request, answer)
    response.headers["Vary"] = "Accept"
    return response


@router.get(
    "/{job_id}/importance",
    summary="Read the weights of a job's features",
    response_model=ImportanceAnswer,
    responses={**NOT_MODIFIED, **problems(404)},
)
def get_importance(
    request: Request,
    server: ServerDep,
    job_id: JobId,
    epoch: Annotated[int | None, Query(ge=1, description="Default: the newest epoch")] = None,
) -> Response:
    """Mean selection weights of ATFT-GAT-FAN on the validation days, shares of the gain of
    `lightgbm`, shares of the absolute weights of `linear`. 404 `no-output` for other models and
    before the first epoch.
    """
    with _open(server, job_id, SELECTION_FILE).stream() as file:
        found = _readable(job_id, lambda: json.load(file))
    epochs = sorted(map(int, found["epochs"]))
    if epoch is not None:
        _known("epoch", [str(epoch)], list(map(str, epochs)))
    chosen = epoch or epochs[-1]
    pairs = sorted(
        zip(found["features"], found["epochs"][str(chosen)], strict=True),
        key=lambda pair: (-pair[1], pair[0]),
    )
    features = [FeatureWeight(name=name, weight=weight) for name, weight in pairs]
    answer = ImportanceAnswer(
        job_id=job_id,
        epoch=chosen,
        epochs=epochs,
        features=features,
        attention=found.get("attention", {}).get(str(chosen)),
    )
    return cacheable(request, answer)


class ArrowStream(StreamingResponse):
    """Streams what is made of an open file and closes it, however the request ends."""

    def __init__(self, file: IO[bytes], content: Iterator[bytes], headers: dict[str, str]) -> None:
        self._file = file
        super().__init__(content, 200, headers, ARROW)

    async def __call__(self, scope, receive, send):  # type: ignore[no-untyped-def]
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._file.close()


def _open(server: Server, job_id: str, name: str) -> StoredFile:
    """The newest attempt's file of that name. Raises NotFoundError, NoOutputError."""
    with server.database.session() as session:
        folders = read.output_folders(session, job_id)
    found = _find(server, folders, name)
    if found is None:
        message = f"job {job_id} has no {name}: no epoch is complete, or its model has none"
        raise NoOutputError(message)
    return found


def _find(server: Server, folders: Sequence[str], name: str) -> StoredFile | None:
    for folder in folders:
        try:
            return server.artifacts.open(f"{folder}/{name}")
        except MissingFileError:
            continue
    return None


def _readable(job_id: str, act: Callable[[], Read]) -> Read:
    try:
        return act()
    except ValueError as error:  # not JSON, or ArrowInvalid
        raise NoOutputError(f"the file of job {job_id} is damaged: {error}") from error


def _known(parameter: str, given: Sequence[str], known: Sequence[str]) -> None:
    """Raise QueryError for values that the file lacks."""
    strange = [value for value in given if value not in known]
    if strange:
        message = f"{', '.join(strange)} is not there; it has: {', '.join(known)}"
        raise QueryError([Problem(f"/query/{parameter}", "unknown", message)])
