"""Sweeps over HTTP: created once, refused whole, looked at, steered; and their best fetched."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import select, text

from app.artifacts import Artifacts
from app.db import Job, Sweep
from app.domain import JobState
from app.jobs.finish import finish
from app.jobs.outcome import Outcome
from app.jobs.record import record
from app.sweeps.advance import Advancer
from app.sweeps.analysis import Analyst
from app.sweeps.searches import Searches
from gogooku3.client import ApiError, Client
from gogooku3.events import CheckpointEvent, EpochEvent, Event
from tests.api.conftest import Running


@pytest.fixture
def sweep_spec(template: dict[str, Any]) -> dict[str, Any]:
    """A small valid sweep."""
    return {
        "name": "search",
        "dataset": "tiny",
        "labels": {"team": "red"},
        "config": copy.deepcopy(template["config"]),
        "search_space": {
            "optimizer.lr": {"float": [1e-5, 1e-3], "log": True},
            "model.gat.layers": {"int": [0, 2]},
        },
        "sampler": {"kind": "random", "seed": 5},
        "n_trials": 3,
        "max_parallel": 3,
    }


class Hands:
    """What a worker would do, by hand."""

    def __init__(self, running: Running) -> None:
        self.running = running
        self.searches = Searches(running.database)
        settings = running.settings
        self._advancer = Advancer(
            running.database, self.searches, settings.caches, Artifacts(settings.artifacts)
        )

    def advance(self, sweep_id: str) -> None:
        self._advancer.advance(sweep_id)

    def analyse(self, sweep_id: str) -> None:
        artifacts = self.running.app.state.server.artifacts
        Analyst(self.running.database, self.searches, artifacts).analyse(sweep_id)

    def run(self, value: float) -> str:
        """The next run, with two epochs and a checkpoint each; answers its job's id."""
        claimed = self.running.claim()
        events: list[Event] = []
        for epoch in (1, 2):
            content = f"{claimed.job_id} {epoch}".encode()
            path = self.running.settings.artifacts / claimed.job_id / f"epoch-{epoch:04d}.gk3"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            metrics = {"valid/rank_ic": value * epoch / 2}
            events += [
                EpochEvent(epoch=epoch, metrics=metrics, duration_s=0.1),
                CheckpointEvent(
                    epoch=epoch,
                    path=f"{claimed.job_id}/{path.name}",
                    size=len(content),
                    sha256=hashlib.sha256(content).hexdigest(),
                    is_best=True,
                    metrics=metrics,
                ),
            ]
        with self.running.database.session() as session:
            record(session, claimed.job_id, claimed.attempt, events)
            finish(session, claimed.job_id, claimed.attempt, outcome=Outcome.SUCCEEDED)
        return claimed.job_id


@pytest.fixture(scope="module")
def hands(running: Running) -> Iterator[Hands]:
    made = Hands(running)
    yield made
    made.searches.close()


@pytest.fixture
def client(running: Running) -> Iterator[Client]:
    with Client(running.url, retry_for_s=5) as one:
        yield one


def finish_all(http: httpx.Client) -> None:
    """No test leaves queued jobs behind for the next."""
    for state in ("running", "paused"):
        for item in http.get("/v1/sweeps", params={"state": state}).json()["items"]:
            http.post(f"/v1/sweeps/{item['id']}/cancel")


@pytest.fixture(autouse=True)
def clean(http: httpx.Client) -> Iterator[None]:
    yield
    finish_all(http)


def test_created_once_and_answered_in_full(http: httpx.Client, sweep_spec: dict[str, Any]) -> None:
    key = {"Idempotency-Key": "sweep-1"}
    first = http.post("/v1/sweeps", json=sweep_spec, headers=key)
    assert first.status_code == 201
    body = first.json()
    assert first.headers["location"] == f"/v1/sweeps/{body['id']}"
    assert body["state"] == "running"
    assert body["counts"]["waiting"] == 3
    assert body["objectives"] == [{"metric": "valid/rank_ic", "direction": "maximize"}]
    assert body["config"]["sampler"] == {"kind": "random", "seed": 5}
    assert body["config"]["config"]["model"]["hidden_size"] == 16
    assert body["optuna_version"].startswith("5.")
    again = http.post("/v1/sweeps", json=sweep_spec, headers=key)
    assert again.json()["id"] == body["id"]
    assert again.headers["idempotent-replayed"] == "true"
    other = http.post("/v1/sweeps", json={**sweep_spec, "n_trials": 4}, headers=key)
    assert other.status_code == 422
    etag = http.get(f"/v1/sweeps/{body['id']}").headers["etag"]
    same = http.get(f"/v1/sweeps/{body['id']}", headers={"If-None-Match": etag})
    assert same.status_code == 304


def test_refused_whole_before_any_trial(
    http: httpx.Client, running: Running, sweep_spec: dict[str, Any]
) -> None:
    sweep_spec["search_space"] = {
        "optimizer.lrr": {"float": [1e-5, 1e-3]},
        "model.hidden_sise": {"choice": [16, 32]},
    }
    answer = http.post("/v1/sweeps", json={**sweep_spec, "dataset": "tinny"})
    assert answer.status_code == 422
    assert answer.headers["content-type"].startswith("application/problem+json")
    errors = {error["pointer"]: error["message"] for error in answer.json()["errors"]}
    assert "did you mean 'optimizer.lr'?" in errors["/search_space/optimizer.lrr"]
    assert "did you mean 'model.hidden_size'?" in errors["/search_space/model.hidden_sise"]
    assert "did you mean 'tiny'?" in errors["/dataset"]
    sweep_spec["search_space"] = {"data.lookback": {"choice": [10, 300]}}
    refused = http.post("/v1/sweeps", json=sweep_spec)
    assert refused.status_code == 422
    assert "data.lookback = 300" in refused.json()["errors"][0]["message"]
    with running.database.session() as session:
        assert session.query(Sweep).filter_by(name="refused").count() == 0


def test_dry_run_and_preview_store_nothing(
    http: httpx.Client, hands: Hands, sweep_spec: dict[str, Any]
) -> None:
    before = len(http.get("/v1/sweeps").json()["items"])
    checked = http.post("/v1/sweeps", params={"validate_only": "true"}, json=sweep_spec)
    assert checked.status_code == 200
    assert checked.json()["config"]["n_trials"] == 3
    preview = http.post("/v1/sweeps/preview", json=sweep_spec).json()
    assert (preview["runs"], preview["epochs"], preview["grid_size"]) == (3, 9, None)
    assert len(http.get("/v1/sweeps").json()["items"]) == before
    # What the preview shows is what the sweep then chooses.
    sweep_id = http.post("/v1/sweeps", json=sweep_spec).json()["id"]
    hands.advance(sweep_id)
    trials = http.get(f"/v1/sweeps/{sweep_id}/trials").json()["items"]
    assert [trial["params"] for trial in trials] == preview["suggestions"]


def test_from_creation_to_the_best_checkpoint(
    client: Client, http: httpx.Client, hands: Hands, sweep_spec: dict[str, Any], tmp_path: Path
) -> None:
    sweep = client.sweeps.create(sweep_spec)
    with pytest.raises(ApiError) as caught:
        client.sweeps.best(sweep.id)
    assert caught.value.code == "no-complete-trial"
    missing = http.get(f"/v1/sweeps/{sweep.id}/best/checkpoint")
    assert (missing.status_code, missing.json()["code"]) == (404, "no-complete-trial")
    hands.advance(sweep.id)
    jobs = [hands.run(value) for value in (0.1, 0.3, 0.2)]
    hands.advance(sweep.id)
    done = client.sweeps.wait(sweep.id, timeout_s=10)
    assert done.state == "succeeded"
    assert done.counts["succeeded"] == 3
    assert done.best is not None
    assert done.best.number == 1
    trials = list(client.sweeps.trials(sweep.id, page_size=2))
    assert [trial.number for trial in trials] == [0, 1, 2]
    assert [trial.job_id for trial in trials] == jobs
    assert trials[1].intermediate_values == {1: pytest.approx(0.15), 2: pytest.approx(0.3)}
    assert http.get(f"/v1/sweeps/{sweep.id}/trials/1").json()["value"] == pytest.approx(0.3)
    assert http.get(f"/v1/sweeps/{sweep.id}/trials/7").status_code == 404
    best = client.sweeps.best(sweep.id)
    assert (best.number, best.job_id, best.value) == (1, jobs[1], pytest.approx(0.3))
    assert best.selection is None  # a worker has not worked it out yet
    path = client.sweeps.best_checkpoint(sweep.id, tmp_path)
    assert path.read_text() == f"{jobs[1]} 2"
    hands.analyse(sweep.id)
    selection = client.sweeps.best(sweep.id).selection
    assert selection is not None
    assert selection["best_of"] == 3
    assert client.sweeps.history(sweep.id)["best"] == pytest.approx([0.1, 0.3, 0.3])
    parallel = client.sweeps.parallel(sweep.id)
    assert [axis["path"] for axis in parallel["coordinates"]] == list(sweep_spec["search_space"])
    assert len(parallel["lines"]) == 3
    assert set(client.sweeps.slice(sweep.id)["slices"]) == set(sweep_spec["search_space"])
    assert [item["number"] for item in client.sweeps.pareto(sweep.id)["items"]] == [1]
    assert client.sweeps.importances(sweep.id)["trials"] == 3
    for job in jobs:
        assert http.get(f"/v1/jobs/{job}").json()["sweep_id"] == sweep.id
    listed = http.get("/v1/jobs", params={"sweep_id": sweep.id}).json()["items"]
    assert len(listed) == 3


def test_retention_lists_and_then_removes(
    client: Client, running: Running, hands: Hands, sweep_spec: dict[str, Any]
) -> None:
    keep_all = {"save_sweep_best": 1, "save_trial_best": 5, "save_trial_latest": 5}
    sweep = client.sweeps.create({**sweep_spec, "retention": keep_all})
    hands.advance(sweep.id)
    jobs = [hands.run(value) for value in (0.1, 0.3, 0.2)]
    hands.advance(sweep.id)
    only_best = {"save_sweep_best": 1, "save_trial_best": 0, "save_trial_latest": 0}
    shown = client.sweeps.retain(sweep.id, only_best, dry_run=True)
    assert len(shown["removed"]) == 5
    assert all(len(client.jobs.checkpoints(job)) == 2 for job in jobs)
    gone = running.settings.artifacts / jobs[0] / "epoch-0001.gk3"
    gone.unlink()
    done = client.sweeps.retain(sweep.id, only_best)
    assert done["removed"] == shown["removed"]
    assert len(done["warnings"]) == 1
    assert [len(client.jobs.checkpoints(job)) for job in jobs] == [0, 1, 0]
    assert client.jobs.checkpoints(jobs[1])[0].is_best
    assert not (running.settings.artifacts / jobs[2] / "epoch-0002.gk3").exists()
    assert client.sweeps.retain(sweep.id, only_best)["removed"] == []
    assert client.sweeps.get(sweep.id).config["retention"] == only_best  # type: ignore[index]


def test_no_transaction_waits_for_the_store_while_checkpoints_go(
    client: Client,
    running: Running,
    hands: Hands,
    sweep_spec: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    keep_all = {"save_sweep_best": 1, "save_trial_best": 5, "save_trial_latest": 5}
    sweep = client.sweeps.create({**sweep_spec, "retention": keep_all})
    hands.advance(sweep.id)
    for value in (0.1, 0.3, 0.2):
        hands.run(value)
    hands.advance(sweep.id)
    artifacts = running.app.state.server.artifacts
    really_remove = artifacts.remove
    waiting = text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
        "AND state LIKE 'idle in transaction%'"
    )
    seen: list[int] = []

    def remove(path: str) -> None:
        with running.database.reading() as session:
            seen.append(session.scalar(waiting) or 0)
        really_remove(path)

    monkeypatch.setattr(artifacts, "remove", remove)
    monkeypatch.setattr("app.sweeps.retention.AT_ONCE", 2)
    only_best = {"save_sweep_best": 1, "save_trial_best": 0, "save_trial_latest": 0}
    done = client.sweeps.retain(sweep.id, only_best)
    assert (len(done["removed"]), done["warnings"], seen) == (5, [], [0] * 5)
    assert client.sweeps.retain(sweep.id, only_best)["removed"] == []


def test_default_retention_keeps_best_and_newest_of_each_trial(
    client: Client, hands: Hands, sweep_spec: dict[str, Any]
) -> None:
    sweep = client.sweeps.create({**sweep_spec, "n_trials": 1})
    hands.advance(sweep.id)
    job = hands.run(0.1)
    hands.advance(sweep.id)
    assert [one.epoch for one in client.jobs.checkpoints(job)] == [2]


def test_steered(client: Client, hands: Hands, sweep_spec: dict[str, Any]) -> None:
    sweep = client.sweeps.create(sweep_spec)
    hands.advance(sweep.id)
    assert client.sweeps.pause(sweep.id).state == "paused"
    assert client.sweeps.get(sweep.id).counts["paused"] == 3
    assert client.sweeps.resume(sweep.id).state == "running"
    assert client.sweeps.extend(sweep.id, 5).n_trials == 5
    with pytest.raises(ApiError) as caught:
        client.sweeps.extend(sweep.id, 2)
    assert caught.value.code == "invalid-state"
    claimed = hands.running.claim()
    # It goes on until that run has ended, and says what it will not do any more.
    ending = client.sweeps.cancel(sweep.id, finish_running=True)
    assert ending.state == "running"
    assert ending.cancel_requested_at is not None
    for refused in (
        lambda: client.sweeps.pause(sweep.id),
        lambda: client.sweeps.resume(sweep.id),
        lambda: client.sweeps.extend(sweep.id, 9),
    ):
        with pytest.raises(ApiError, match="is being cancelled") as caught:
            refused()
        assert (caught.value.status, caught.value.code) == (409, "invalid-state")
    with hands.running.database.session() as session:
        finish(session, claimed.job_id, claimed.attempt, outcome=Outcome.CANCELLED)
    hands.advance(sweep.id)
    assert client.sweeps.get(sweep.id).state == "cancelled"
    assert client.sweeps.cancel(sweep.id).state == "cancelled"
    with pytest.raises(ApiError) as caught:
        client.sweeps.pause(sweep.id)
    assert caught.value.status == 409


def test_running_sweep_that_has_not_changed_is_not_sent_again(
    http: httpx.Client, hands: Hands, sweep_spec: dict[str, Any]
) -> None:
    spec = {**sweep_spec, "max_parallel": 1, "labels": {"polled": "yes"}}
    sweep_id = http.post("/v1/sweeps", json=spec).json()["id"]
    hands.advance(sweep_id)
    hands.run(0.1)
    hands.advance(sweep_id)
    tags = {}
    for path in (f"/v1/sweeps/{sweep_id}", "/v1/sweeps?label=polled:yes"):
        first = http.get(path)
        tags[path] = {"If-None-Match": first.headers["etag"]}
        [sweep] = first.json().get("items", [first.json()])
        assert sweep["estimated_finish_at"] > sweep["updated_at"]
        assert http.get(path, headers=tags[path]).status_code == 304
    hands.run(0.2)
    hands.advance(sweep_id)
    assert [http.get(path, headers=tag).status_code for path, tag in tags.items()] == [200, 200]


def test_outdated_sweep_is_shown_and_ended_but_does_not_go_on(
    client: Client, hands: Hands, sweep_spec: dict[str, Any]
) -> None:
    sweep = client.sweeps.create(sweep_spec)
    hands.advance(sweep.id)
    with hands.running.database.session() as session:
        row = session.get_one(Sweep, sweep.id)
        row.config = row.config | {"sampler": {"kind": "forgotten"}}
    assert (
        "no longer accepts the stored sweep: sampler: " in client.sweeps.get(sweep.id).warnings[0]
    )
    assert [one.number for one in client.sweeps.trials(sweep.id)] == [0, 1, 2]
    assert client.sweeps.pause(sweep.id).state == "paused"
    for refused in (
        lambda: client.sweeps.resume(sweep.id),
        lambda: client.sweeps.extend(sweep.id, 9),
    ):
        with pytest.raises(ApiError) as caught:
            refused()
        assert (caught.value.status, caught.value.code) == (409, "spec-outdated")
    assert client.sweeps.cancel(sweep.id).cancel_requested_at is not None
    with hands.running.database.session() as session:
        states = session.scalars(select(Job.state).where(Job.sweep_id == sweep.id)).all()
    assert set(states) == {JobState.CANCELLED}


@pytest.mark.parametrize("body", [{}, {"n_trials": 0}, {"n_trials": "many"}, {"trials": 3}])
def test_extension_must_make_sense(
    http: httpx.Client, sweep_spec: dict[str, Any], body: dict[str, Any]
) -> None:
    sweep_id = http.post("/v1/sweeps", json=sweep_spec).json()["id"]
    answer = http.post(f"/v1/sweeps/{sweep_id}/extend", json=body)
    assert answer.status_code == 422
    assert answer.json()["errors"]


def test_lists(client: Client, http: httpx.Client, sweep_spec: dict[str, Any]) -> None:
    made = [
        client.sweeps.create({**sweep_spec, "name": f"list {n}", "labels": {"list": "yes"}}).id
        for n in range(3)
    ]
    found = [sweep.id for sweep in client.sweeps.list(label="list:yes", page_size=2)]
    assert found == made[::-1]
    assert [sweep.id for sweep in client.sweeps.list(q="list 1")] == [made[1]]
    assert http.get("/v1/sweeps", params={"page_token": "x"}).status_code == 422
    assert http.get("/v1/sweeps", params={"stat": "running"}).status_code == 422


@pytest.mark.parametrize(
    "path", ["", "/trials", "/best", "/best/checkpoint", "/importances", "/parallel", "/pareto"]
)
def test_unknown_sweep_is_not_found(http: httpx.Client, path: str) -> None:
    assert http.get(f"/v1/sweeps/swp_{'0' * 26}{path}").status_code == 404
    assert http.get(f"/v1/sweeps/nothing{path}").status_code == 404
