"""Datasets: build one, and the caches under the server's home as their headers describe them."""

from __future__ import annotations

import base64
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Depends
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import Response

from app.api.answers import JobAnswer
from app.api.auth import Submitter, reader, submitter
from app.api.body import RawBody, checked, parse
from app.api.creation import CREATED, ValidateOnly, create, json_answer
from app.api.dataset_answers import (
    CheckedDataset,
    DatasetAnswer,
    DatasetCoverage,
    DatasetFeature,
    DatasetFinding,
    DatasetPage,
    DatasetSummary,
)
from app.api.errors import QueryError
from app.api.etag import NOT_MODIFIED, cacheable, fresh, tag_of, unchanged
from app.api.openapi import DATASET_SPEC_BODY
from app.api.parameters import (
    DatasetId,
    IdempotencyKey,
    PageSize,
    PageToken,
    StorableQuery,
    problems,
)
from app.api.server import Server, ServerDep
from app.db import Job
from app.jobs.builds import builder_of
from app.jobs.check import check_build
from app.jobs.datasets import delete_dataset, live_builds
from app.jobs.submit import submit_build
from gogooku3.config import DatasetSpec, Problem, config_sources
from gogooku3.data.coverage import Coverage, coverage
from gogooku3.data.header import SUFFIX, DatasetHeader, read_header
from gogooku3.data.header import list_datasets as readable_datasets
from gogooku3.errors import DatasetError, DatasetNotFoundError

reading = APIRouter(prefix="/v1/datasets", dependencies=[Depends(reader), StorableQuery])
submitting = APIRouter(prefix="/v1/datasets", dependencies=[Depends(submitter), StorableQuery])


CREATE_ROUTE = "POST /v1/datasets"


@submitting.post(
    "",
    status_code=202,
    summary="Build a dataset",
    response_model=JobAnswer,
    openapi_extra=DATASET_SPEC_BODY,
    responses={
        200: {"model": CheckedDataset, "description": "`validate_only`: valid, nothing stored"},
        202: CREATED,
        **problems(400, 409, 413, 415, 429),
    },
)
def create_dataset(
    server: ServerDep,
    caller: Submitter,
    raw: RawBody,
    idempotency_key: IdempotencyKey = None,
    validate_only: ValidateOnly = False,
) -> Response:
    """Queue a job of kind `dataset`, whose events tell how far it is; jobs find the dataset when it
    has succeeded.

    409 `dataset-exists` when there is one of that name, unless `replace`; 409 `in-use` when it is
    being built already, or a job uses the one to be replaced.
    """
    body = parse(raw)

    def check() -> DatasetSpec:
        return checked(body, partial(check_build, data=server.settings.data))

    def submit_it(session: Session) -> Job:
        return submit_build(
            session,
            check(),
            given=body.value,
            caches=server.settings.caches,
            api_key_id=caller.key_id,
        )

    if validate_only:
        return json_answer(200, checked_build(check(), body.value))
    return create(
        server,
        caller,
        body,
        route=CREATE_ROUTE,
        status=202,
        idempotency_key=idempotency_key,
        submit=submit_it,
    )


@reading.get(
    "",
    summary="List datasets",
    response_model=DatasetPage,
    responses={**NOT_MODIFIED, **problems()},
)
def list_datasets(
    request: Request,
    server: ServerDep,
    page_size: PageSize = 100,
    page_token: PageToken = None,
) -> Response:
    """By name. Files that cannot be read as datasets are left out."""
    after = "" if page_token is None else _name_in(page_token)
    headers = [
        header for header in readable_datasets(server.settings.caches) if header.name > after
    ]
    headers.sort(key=lambda header: header.name)
    page = headers[:page_size]
    token = _token_after(page[-1].name) if len(headers) > page_size else None
    items = [DatasetSummary(**_summary(header)) for header in page]
    return cacheable(request, DatasetPage(items=items, next_page_token=token))


@reading.get(
    "/{dataset_id}",
    summary="Look at a dataset",
    response_model=DatasetAnswer,
    responses={**NOT_MODIFIED, **problems(404, 409)},
)
def get_dataset(request: Request, server: ServerDep, dataset_id: DatasetId) -> Response:
    """Features with their roles, days, horizons and fingerprint; 409 when its file is damaged."""
    header = _header(server, dataset_id)
    with server.database.session() as session:
        job_id = builder_of(session, header.name, header.fingerprint)
    features = [DatasetFeature.model_validate(feature) for feature in header.features]
    answer = DatasetAnswer(
        **_summary(header),
        features=features,
        layout_version=header.layout_version,
        normalisation=header.normalisation,
        storage=header.storage,
        fingerprints=dict(header.fingerprints),
        report=[DatasetFinding.model_validate(finding.as_json()) for finding in header.report],
        universe=header.universe,
        planted=header.planted,
        source=header.source,
        quality=header.quality,
        created_at=header.created_at,
        code_version=header.code_version,
        job_id=job_id,
    )
    return cacheable(request, answer)


@reading.get(
    "/{dataset_id}/coverage",
    summary="Look at a dataset day by day",
    response_model=DatasetCoverage,
    responses={**NOT_MODIFIED, **problems(404, 409)},
)
def get_coverage(request: Request, server: ServerDep, dataset_id: DatasetId) -> Response:
    """How many stocks each day has, how many are scored, and of how many the outcome is known."""
    header = _header(server, dataset_id)
    etag = tag_of("coverage", header.fingerprint)
    if unchanged(request, etag):
        return fresh(etag)
    found = _coverage(header.path, header.fingerprint)
    return fresh(etag, DatasetCoverage.model_validate(found).model_dump_json().encode())


@submitting.delete(
    "/{dataset_id}",
    status_code=204,
    summary="Delete a dataset",
    response_class=Response,
    responses=problems(404, 409),
)
def remove_dataset(server: ServerDep, dataset_id: DatasetId) -> None:
    """Its file and its graphs; 409 `in-use` while a job that is queued, running or paused needs it.

    A damaged dataset can be deleted, too.
    """
    with server.database.session() as session:
        delete_dataset(session, server.settings.caches, dataset_id)


router = APIRouter(tags=["datasets"])
router.include_router(reading)
router.include_router(submitting)


def _header(server: Server, name: str) -> DatasetHeader:
    """Raises DatasetError without naming where the server keeps its files."""
    path = server.settings.caches / f"{name}{SUFFIX}"
    try:
        return read_header(path)
    except DatasetNotFoundError as error:
        raise DatasetNotFoundError(_missing(server, name)) from error
    except DatasetError as error:
        # Where the server keeps its files is not the client's business.
        raise type(error)(str(error).replace(str(path), f"dataset {name!r}")) from error


@lru_cache(maxsize=8)
def _coverage(path: Path, fingerprint: str) -> Coverage:
    """Counted once for each version of a dataset: a market of decades takes a second."""
    return coverage(path)


def _missing(server: Server, name: str) -> str:
    with server.database.session() as session:
        building = live_builds(session, name)
    if building:
        return f"no dataset {name!r} yet: {building[0]} builds it"
    return f"no dataset {name!r}; `POST /v1/datasets` makes one"


def checked_build(spec: DatasetSpec, given: Any) -> CheckedDataset:
    """The build as it would be."""
    return CheckedDataset(
        name=spec.name,
        config=spec.config.model_dump(mode="json"),
        config_sources=dict(config_sources(spec.config, given)),
        resources=spec.resources.model_dump(mode="json"),
        limits=spec.limits.model_dump(mode="json"),
    )


def _summary(header: DatasetHeader) -> dict[str, Any]:
    return {
        "id": header.name,
        "rows": header.rows,
        "stocks": header.stocks,
        "days": len(header.calendar),
        "first_day": header.calendar[0] if header.calendar else None,
        "last_day": header.calendar[-1] if header.calendar else None,
        "features_count": len(header.features),
        "horizons": list(header.horizons),
        "fingerprint": header.fingerprint,
        "size_bytes": header.size_bytes,
    }


def _token_after(name: str) -> str:
    return base64.urlsafe_b64encode(name.encode()).decode()


def _name_in(token: str) -> str:
    try:
        return base64.b64decode(token, altchars=b"-_", validate=True).decode()
    except ValueError as error:
        message = "not a token of this list"
        raise QueryError([Problem("/query/page_token", "page-token", message)]) from error
