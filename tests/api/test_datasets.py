"""Datasets over HTTP: deleting them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.domain import Scope
from app.jobs import keys


@pytest.fixture
def copied(running: Any) -> Iterator[Path]:
    """The dataset `copied`, to be deleted."""
    caches: Path = running.settings.caches
    path = caches / "copied.arrow"
    shutil.copy(caches / "tiny.arrow", path)
    (caches / "copied.graphs").mkdir(exist_ok=True)
    yield path
    path.unlink(missing_ok=True)


def test_delete(http: httpx.Client, copied: Path) -> None:
    answer = http.delete("/v1/datasets/copied")
    assert (answer.status_code, answer.content) == (204, b"")
    assert not copied.exists()
    assert not copied.with_suffix(".graphs").exists()
    assert http.get("/v1/datasets/copied").status_code == 404
    again = http.delete("/v1/datasets/copied")
    assert (again.status_code, again.json()["code"]) == (404, "unknown-dataset")


def test_dataset_of_a_queued_job_is_in_use(
    http: httpx.Client, copied: Path, spec: dict[str, Any]
) -> None:
    job = http.post("/v1/jobs", json=spec | {"dataset": "copied"}).json()
    answer = http.delete("/v1/datasets/copied")
    assert (answer.status_code, answer.json()["code"]) == (409, "in-use")
    assert job["id"] in answer.json()["detail"]
    assert copied.exists()
    http.post(f"/v1/jobs/{job['id']}/cancel")
    assert http.delete("/v1/datasets/copied").status_code == 204


def test_damaged_dataset_can_be_deleted(running: Any, http: httpx.Client) -> None:
    path = running.settings.caches / "broken.arrow"
    path.write_bytes(b"not a dataset")
    assert http.delete("/v1/datasets/broken").status_code == 204
    assert not path.exists()


@pytest.mark.parametrize("name", ["..", "a%2Fb", ".hidden", "%2E%2E%2Fsecret"])
def test_no_name_leads_out_of_the_folder(http: httpx.Client, name: str) -> None:
    assert http.delete(f"/v1/datasets/{name}").status_code in {404, 405}


def test_delete_needs_a_key_that_may_submit(running: Any, copied: Path) -> None:
    with running.database.session() as session:
        _, secret = keys.create(session, "reader", Scope.READ)
    headers = {"Authorization": f"Bearer {secret}"}
    answer = httpx.delete(f"{running.url}/v1/datasets/copied", headers=headers, trust_env=False)
    assert answer.status_code == 403
    assert copied.exists()
