"""Datasets: the caches under the server's home, as their headers describe them."""

from __future__ import annotations

import base64
import binascii
from typing import Any

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from app.api.answers import DatasetAnswer, DatasetFeature, DatasetPage, DatasetSummary
from app.api.auth import reader, submitter
from app.api.errors import QueryError
from app.api.etag import NOT_MODIFIED, cacheable
from app.api.parameters import DatasetId, PageSize, PageToken, StorableQuery, problems
from app.api.server import ServerDep
from app.jobs.datasets import delete_dataset
from gogooku3.config import Problem
from gogooku3.data.header import SUFFIX, DatasetHeader, read_header
from gogooku3.data.header import list_datasets as readable_datasets
from gogooku3.errors import DatasetError

reading = APIRouter(prefix="/v1/datasets", dependencies=[Depends(reader), StorableQuery])
submitting = APIRouter(prefix="/v1/datasets", dependencies=[Depends(submitter), StorableQuery])


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
    path = server.settings.caches / f"{dataset_id}{SUFFIX}"
    try:
        header = read_header(path)
    except DatasetError as error:
        # Where the server keeps its files is not the client's business.
        raise type(error)(str(error).replace(str(path), f"dataset {dataset_id!r}")) from error
    features = [DatasetFeature.model_validate(feature) for feature in header.features]
    answer = DatasetAnswer(
        **_summary(header),
        features=features,
        layout_version=header.layout_version,
        normalisation=header.normalisation,
        universe=header.universe,
        planted=header.planted,
        source=header.source,
        quality=header.quality,
        created_at=header.created_at,
        code_version=header.code_version,
    )
    return cacheable(request, answer)


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
    except (binascii.Error, UnicodeDecodeError) as error:
        message = "not a token of this list"
        raise QueryError([Problem("/query/page_token", "page-token", message)]) from error
