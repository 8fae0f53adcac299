"""Predictions, daily series and feature weights of a job over HTTP, and through the client."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import pytest

from gogooku3.client import ApiError, Client
from gogooku3.outputs import BATCH_ROWS, PREDICTIONS_FILE, SELECTION_FILE, SERIES_FILE

ROWS = BATCH_ROWS + 1000  # more than one batch of the file
ARROW = "application/vnd.apache.arrow.stream"


def write(path: Path, table: pa.Table, epoch: int) -> None:
    labelled = table.replace_schema_metadata({"epoch": str(epoch), "split": "valid"})
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, labelled.schema) as writer:
        writer.write_table(labelled, max_chunksize=BATCH_ROWS)


@pytest.fixture(scope="module")
def predictions() -> pa.Table:
    rng = np.random.default_rng(0)
    codes = pa.array([f"S{number}" for number in range(500)])
    columns: dict[str, Any] = {
        "date": pa.array(np.repeat(np.arange(ROWS // 500 + 1), 500)[:ROWS], pa.int32()).cast(
            pa.date32()
        ),
        "code": pa.DictionaryArray.from_arrays(
            pa.array(np.arange(ROWS, dtype=np.int32) % 500), codes
        ),
    }
    for horizon in (1, 5):
        columns[f"score@{horizon}"] = pa.array(rng.normal(size=ROWS).astype(np.float32))
        returns = rng.normal(size=ROWS).astype(np.float32)
        columns[f"return@{horizon}"] = pa.array(returns, mask=np.arange(ROWS) % 7 == 0)
    return pa.table(columns)


@pytest.fixture(scope="module")
def daily() -> pa.Table:
    days = pa.array([18000, 18001, 18002], pa.int32()).cast(pa.date32())
    return pa.table(
        {
            "date": days,
            "rank_ic@1": [0.1, None, 0.3],
            "rank_ic@5": [0.2, 0.1, 0.0],
            "ic@1": [0.0, 0.1, 0.2],
        }
    )


@pytest.fixture(scope="module")
def trained(running: Any, template: dict[str, Any], predictions: pa.Table, daily: pa.Table) -> str:
    """A job whose first attempt left its outputs; the second has begun and left none yet."""
    httpx.post(
        f"{running.url}/v1/jobs", json=template | {"priority": 1000}, trust_env=False, timeout=30
    )
    held = running.claim()
    folder: Path = running.settings.artifacts / held.job_id / "attempt-1"
    folder.mkdir(parents=True)
    write(folder / PREDICTIONS_FILE, predictions, 2)
    write(folder / SERIES_FILE, daily, 2)
    weights = {
        "features": ["a", "b"],
        "epochs": {"1": [0.9, 0.1], "2": [0.3, 0.7]},
        "attention": {"1": [0.5, 0.5], "2": [0.6, 0.4]},
    }
    (folder / SELECTION_FILE).write_text(json.dumps(weights))
    return str(held.job_id)


@pytest.fixture
def client(running: Any) -> Any:
    with Client(running.url, retry_for_s=5) as one:
        yield one


def test_predictions_are_streamed_whole(
    client: Client, trained: str, predictions: pa.Table
) -> None:
    found = client.jobs.predictions(trained)
    assert found.column_names == ["date", "code", "horizon", "score", "label"]
    assert found.num_rows == 2 * ROWS
    assert found.schema.metadata == {b"epoch": b"2", b"split": b"valid"}
    for horizon in (1, 5):
        one = client.jobs.predictions(trained, horizon=horizon)
        assert set(one["horizon"].to_pylist()) == {horizon}
        assert one["date"].to_pylist() == predictions["date"].to_pylist()
        assert one["code"].to_pylist() == predictions["code"].to_pylist()
        assert one["score"].to_pylist() == predictions[f"score@{horizon}"].to_pylist()
        assert one["label"].to_pylist() == predictions[f"return@{horizon}"].to_pylist()


def test_predictions_can_be_polled_and_ask_for_what_is_there(
    http: httpx.Client, trained: str
) -> None:
    first = http.get(f"/v1/jobs/{trained}/predictions", params={"horizon": 5})
    assert first.headers["content-type"] == ARROW
    assert "content-length" not in first.headers  # made as it is sent
    headers = {"If-None-Match": first.headers["etag"]}
    path = f"/v1/jobs/{trained}/predictions"
    assert http.get(path, params={"horizon": 5}, headers=headers).status_code == 304
    assert http.get(path, headers=headers).status_code == 200
    refused = http.get(path, params={"horizon": 3})
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["message"] == "3 is not there; it has: 1, 5"


def test_daily_series_as_json_and_as_arrow(
    client: Client, http: httpx.Client, trained: str
) -> None:
    found = client.jobs.daily(trained, names=["rank_ic"])
    assert found.series == {"rank_ic@1": [0.1, None, 0.3], "rank_ic@5": [0.2, 0.1, 0.0]}
    assert found.dates[0].isoformat() == "2019-04-14"
    assert (found.epoch, found.split) == (2, "valid")
    path = f"/v1/jobs/{trained}/daily"
    arrow = http.get(path, params={"names": "ic@1,rank_ic@5"}, headers={"Accept": ARROW})
    assert pa.ipc.open_stream(arrow.content).read_all().column_names == [
        "date",
        "rank_ic@5",
        "ic@1",
    ]
    etag = {"If-None-Match": http.get(path).headers["etag"]}
    assert http.get(path, headers=etag).status_code == 304
    assert http.get(path, params={"names": "rank_ik"}).status_code == 422


def test_outputs_say_what_can_be_asked_for(
    http: httpx.Client, running: Any, template: dict[str, Any], trained: str
) -> None:
    found = http.get(f"/v1/jobs/{trained}/outputs")
    assert found.json() == {
        "job_id": trained,
        "daily": True,
        "predictions": True,
        "importance": True,
    }
    waiting = http.post("/v1/jobs", json=template).json()["id"]
    assert set(http.get(f"/v1/jobs/{waiting}/outputs").json().values()) == {waiting, False}
    # A model that does not weigh its features leaves the other two.
    weights: Path = running.settings.artifacts / trained / "attempt-1" / SELECTION_FILE
    kept = weights.read_bytes()
    weights.unlink()
    etag = {"If-None-Match": found.headers["etag"]}
    less = http.get(f"/v1/jobs/{trained}/outputs", headers=etag)
    weights.write_bytes(kept)
    assert less.json()["daily"]
    assert not less.json()["importance"]
    assert http.get(f"/v1/jobs/job_{'0' * 26}/outputs").status_code == 404


def test_the_weights_of_the_features(client: Client, trained: str) -> None:
    newest = client.jobs.importance(trained)
    assert list(newest.weights.items()) == [("b", 0.7), ("a", 0.3)]
    assert (newest.epoch, newest.epochs) == (2, [1, 2])
    assert newest.attention == [0.6, 0.4]
    assert client.jobs.importance(trained, epoch=1).weights == {"a": 0.9, "b": 0.1}
    with pytest.raises(ApiError) as refused:
        client.jobs.importance(trained, epoch=3)
    assert refused.value.status == 422


@pytest.mark.parametrize("what", ["predictions", "daily", "importance"])
def test_a_job_without_outputs_says_so(http: httpx.Client, spec: dict[str, Any], what: str) -> None:
    job_id = http.post("/v1/jobs", json=spec | {"priority": -1000}).json()["id"]
    answer = http.get(f"/v1/jobs/{job_id}/{what}")
    assert answer.status_code == 404
    assert answer.json()["type"].endswith("no-output")
    unknown = http.get(f"/v1/jobs/job_{'0' * 26}/{what}")
    assert unknown.json()["type"].endswith("not-found")


def test_a_damaged_file_is_no_output(
    http: httpx.Client, running: Any, template: dict[str, Any]
) -> None:
    http.post("/v1/jobs", json=template | {"priority": 2000})
    held = running.claim()
    folder: Path = running.settings.artifacts / held.job_id / "attempt-1"
    folder.mkdir(parents=True)
    for name in (PREDICTIONS_FILE, SERIES_FILE):
        (folder / name).write_bytes(b"ARROW1\0\0 and no more")
    for what in ("predictions", "daily"):
        answer = http.get(f"/v1/jobs/{held.job_id}/{what}")
        assert answer.status_code == 404
        assert "damaged" in answer.json()["detail"]
