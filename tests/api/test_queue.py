"""The queue over HTTP, in the client and on the command line."""

from __future__ import annotations

import copy
import json
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from app.cli.failures import UsageError
from app.cli.main import app
from gogooku3.client import Client


def create(http: httpx.Client, spec: dict[str, Any], **changes: Any) -> str:
    answer = http.post("/v1/jobs", json=copy.deepcopy(spec) | changes)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def order(http: httpx.Client) -> list[str]:
    items = http.get("/v1/queue").json()["items"]
    return [item["job_id"] for item in items if item["position"]]


def test_the_queue_is_shown_and_changed(http: httpx.Client, spec: dict[str, Any]) -> None:
    a, b, c = (create(http, spec, name=name) for name in "abc")
    answer = http.get("/v1/queue")
    assert answer.status_code == 200, answer.text
    first = answer.json()["items"][0]
    assert (first["job_id"], first["position"], first["behind"]) == (a, 1, None)
    assert first["reason"]["code"] == "no-worker"
    assert answer.json()["queued"] == 3
    again = http.get("/v1/queue", headers={"If-None-Match": answer.headers["etag"]})
    assert again.status_code == 304
    for place, expected in (
        ({"job": c, "front": True}, [c, a, b]),
        ({"job": c, "after": a}, [a, c, b]),
        ({"job": b, "before": a}, [b, a, c]),
    ):
        assert http.post("/v1/queue/move", json=place).status_code == 200
        assert order(http) == expected
    http.post(f"/v1/jobs/{a}/pause")
    assert http.get("/v1/queue").json()["items"][-1]["reason"]["code"] == "paused"
    refused = http.post("/v1/queue/move", json={"job": a, "front": True})
    assert (refused.status_code, refused.json()["code"]) == (409, "invalid-state")


@pytest.mark.parametrize(
    "body",
    [
        {"job": "job_1"},
        {"job": "job_1", "front": True, "before": "job_2"},
        {"front": True},
        {"job": "job_1", "font": True},
        [],
    ],
)
def test_a_move_says_what_is_wrong(http: httpx.Client, body: Any) -> None:
    answer = http.post("/v1/queue/move", json=body)
    assert answer.status_code == 422
    assert answer.json()["errors"]


def test_a_move_of_nobody(http: httpx.Client) -> None:
    answer = http.post("/v1/queue/move", json={"job": "job_none", "front": True})
    assert answer.status_code == 404


def test_client_and_command_line(running: Any, http: httpx.Client, spec: dict[str, Any]) -> None:
    first, second = create(http, spec, priority=800), create(http, spec, priority=800)
    with Client(running.url) as client:
        assert client.move(second).priority == 800
        assert [item.job_id for item in client.queue(limit=2).items[:2]] == [second, first]
        assert client.workers() == []
    run = CliRunner().invoke

    def command(*words: str) -> Any:
        done = run(app, [*words, "--url", running.url])
        assert done.exit_code == 0, done.output
        return done

    command("move", first, "--before", second)
    shown = json.loads(command("queue", "--json").stdout)
    assert [item["job_id"] for item in shown["items"][:2]] == [first, second]
    assert "no-worker" not in command("queue").output
    assert command("pause", first).stdout.startswith("paused")
    assert command("resume", first).stdout.startswith("queued")
    command("update", first, "--label", "a=1", "--priority", "3", "--note", "n")
    clone = command("clone", first, "--set", "config.seed=5", "--name", "copy").stdout.strip()
    job = http.get(f"/v1/jobs/{clone}").json()
    assert (job["config"]["seed"], job["name"], job["labels"]["a"]) == (5, "copy", "1")
    command("cancel", clone)
    assert command("retry", clone).stdout.startswith("queued")
    assert isinstance(run(app, ["move", first, "--url", running.url]).exception, UsageError)
