"""A dataset from POST to DELETE, with a job on it, on the stack that `gogooku3 up` starts."""

from __future__ import annotations

import os
from typing import Any

import httpx
import pytest

from gogooku3.client import ApiError, Client

pytestmark = pytest.mark.slow
SPEC = {
    "name": "built",
    "source": {"kind": "synth", "stocks": 30, "days": 200, "seed": 5},
    "horizons": [1, 5],
    "resources": {"cpu_threads": 1},
}


def test_dataset_from_post_to_delete(stack: Any, spec: dict[str, Any]) -> None:
    with Client(stack.url) as client:
        build = client.datasets.create(SPEC)
        events = list(client.jobs.stream(build.id))
        types = [event.type for event in events]
        assert types[0] == types[-1] == "state"
        assert {"progress", "dataset"} <= set(types)
        assert events[-1].payload["state"] == "succeeded"
        dataset = client.datasets.wait(build)
        assert (dataset.stocks, dataset.horizons, dataset.job_id) == (30, [1, 5], build.id)
        assert client.jobs.get(build.id).dataset_fingerprint == dataset.fingerprint
        assert "100 %" in client.jobs.logs(build.id).text

        spec["config"]["max_epochs"] = 1000
        job = client.jobs.create(spec | {"dataset": "built"})
        assert job.dataset_fingerprint == dataset.fingerprint
        stack.wait_for_epoch(job.id, 1)
        for call in (
            lambda: client.datasets.delete("built"),
            lambda: client.datasets.create(SPEC | {"replace": True}),
        ):
            with pytest.raises(ApiError, match=job.id) as raised:
                call()
            assert (raised.value.status, raised.value.code) == (409, "in-use")
        client.jobs.cancel(job.id)
        assert client.jobs.wait(job.id, timeout_s=60).state == "cancelled"
        assert client.jobs.get(job.id).metrics is not None
        client.datasets.delete("built")
        assert httpx.get(f"{stack.url}/v1/datasets/built").status_code == 404
    assert not [name for name in os.listdir(stack.home / "caches") if name.startswith("built")]


def test_dataset_that_changes_under_its_job_stops_it(stack: Any, spec: dict[str, Any]) -> None:
    with Client(stack.url) as client:
        client.datasets.wait(client.datasets.create(SPEC | {"name": "changed"}))
        spec["config"]["max_epochs"] = 1000
        job = client.jobs.create(spec | {"dataset": "changed"})
        stack.wait_for_epoch(job.id, 1)
        made = stack.run(
            *("data", "synth", "changed", "--stocks", "20", "--days", "200", "--force")
        )
        assert made.returncode == 0, made.stderr
        ended = client.jobs.wait(job.id, timeout_s=60)
        assert ended.state == "failed"
        assert ended.reason is not None
        assert (ended.reason["class"], ended.reason["code"]) == ("data", "dataset-changed")
        assert stack.trainers(job.id) == []
