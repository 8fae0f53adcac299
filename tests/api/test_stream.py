"""Events and their live stream: every event once and in order, whatever happens to the line."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from app.api import stream
from app.broker.wake import Wake
from app.db import Database
from app.jobs.finish import finish
from app.jobs.outcome import Outcome
from app.jobs.record import record
from gogooku3.events import EpochEvent


class Live:
    """A running job of the test's own."""

    def __init__(self, running: Any, http: httpx.Client, spec: dict[str, Any]) -> None:
        self.running = running
        self.id = http.post("/v1/jobs", json=spec | {"priority": 1000}).json()["id"]
        self.held = running.claim()
        assert self.held.job_id == self.id
        self.path = f"/v1/jobs/{self.id}/stream"

    def epochs(self, *numbers: int, database: Database | None = None) -> int:
        """Record these epochs, by a database of one's own if there is one; the newest `seq`."""
        events = [
            EpochEvent(epoch=number, metrics={"valid/ic": number / 8}, duration_s=1.0)
            for number in numbers
        ]
        with (database or self.running.database).session() as session:
            return record(session, self.id, self.held.attempt, events)

    def end(self) -> None:
        """The job succeeds."""
        with self.running.database.session() as session:
            finish(session, self.id, self.held.attempt, outcome=Outcome.SUCCEEDED)


@pytest.fixture
def live(running: Any, http: httpx.Client, spec: dict[str, Any]) -> Live:
    """A running job."""
    return Live(running, http, spec)


def messages(answer: httpx.Response) -> Iterator[dict[str, str]]:
    """The messages of an event stream, fields by name; comments under an empty name."""
    fields: dict[str, str] = {}
    for line in answer.iter_lines():
        if line:
            name, _, value = line.partition(":")
            fields[name] = value.removeprefix(" ")
        elif fields:
            yield fields
            fields = {}


def told(answer: httpx.Response) -> list[tuple[str, str]]:
    """(id, event) of every message up to the end of the stream."""
    found = [(m.get("id", ""), m["event"]) for m in messages(answer) if "event" in m]
    assert found[-1] == ("", "end")
    return found[:-1]


def wait_until(condition: Any, seconds: float = 15.0) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_pages_of_events(http: httpx.Client, live: Live) -> None:
    last = live.epochs(1, 2, 3)
    page = http.get(f"/v1/jobs/{live.id}/events", params={"limit": 2}).json()
    assert [event["seq"] for event in page["items"]] == [1, 2]
    assert (page["next_after"], page["has_more"]) == (2, True)
    rest = http.get(f"/v1/jobs/{live.id}/events", params={"after": 2}).json()
    assert [event["seq"] for event in rest["items"]] == list(range(3, last + 1))
    assert rest["has_more"] is False
    epoch = rest["items"][-1]
    assert epoch["type"] == "epoch"
    assert epoch["attempt"] == 1
    assert epoch["payload"]["epoch"] == 3
    assert epoch["payload"]["metrics"] == {"valid/ic": 0.375}
    empty = http.get(f"/v1/jobs/{live.id}/events", params={"after": 10**12}).json()
    assert (empty["items"], empty["next_after"]) == ([], 10**12)


def test_stream_of_a_finished_job_is_its_events_and_the_end(http: httpx.Client, live: Live) -> None:
    live.epochs(1, 2)
    live.end()
    events = http.get(f"/v1/jobs/{live.id}/events").json()["items"]
    with http.stream("GET", live.path) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["cache-control"] == "no-cache"
        assert answer.headers["x-accel-buffering"] == "no"
        found = [message for message in messages(answer) if "event" in message]
    assert found[-1]["event"] == "end"
    assert json.loads(found[-1]["data"]) == {"state": "succeeded"}
    assert [json.loads(message["data"]) for message in found[:-1]] == events
    assert [(m["id"], m["event"]) for m in found[:-1]] == [
        (str(event["seq"]), event["type"]) for event in events
    ]


@pytest.mark.parametrize(
    ("headers", "query", "first"),
    [({"Last-Event-ID": "2"}, "", 3), ({}, "?after=1", 2), ({"Last-Event-ID": "3"}, "?after=0", 4)],
)
def test_stream_goes_on_where_the_client_was(
    http: httpx.Client, live: Live, headers: dict[str, str], query: str, first: int
) -> None:
    last = live.epochs(1, 2, 3)
    live.end()
    with http.stream("GET", live.path + query, headers=headers) as answer:
        assert [int(seq) for seq, _ in told(answer)] == list(range(first, last + 2))


@pytest.mark.parametrize("given", ["x", "-1", "1.5", "9" * 30])
def test_last_event_id_that_is_not_a_number_of_ours(
    http: httpx.Client, live: Live, given: str
) -> None:
    answer = http.get(live.path, headers={"Last-Event-ID": given})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "/header/Last-Event-ID"


def test_client_that_disconnects_again_and_again_gets_everything_once(
    running: Any, http: httpx.Client, live: Live
) -> None:
    stopping = threading.Event()

    def work() -> None:
        for number in range(1, 31):
            live.epochs(number)
            stopping.wait(0.05)
        live.end()

    worker = threading.Thread(target=work)
    worker.start()
    seen: list[int] = []
    ended = False
    connections = 0
    while not ended:
        connections += 1
        headers = {"Last-Event-ID": str(seen[-1])} if seen else {}
        with http.stream("GET", live.path, headers=headers) as answer:
            for place, message in enumerate(messages(answer)):
                if message.get("event") == "end":
                    ended = True
                elif "id" in message:
                    seen.append(int(message["id"]))
                if place == 5:
                    break  # leaves in the middle of the stream
    worker.join()
    events = http.get(f"/v1/jobs/{live.id}/events", params={"limit": 1000}).json()["items"]
    assert seen == [event["seq"] for event in events]
    assert connections > 3
    wait_until(lambda: running.watchers == 0)


def test_disconnected_streams_leave_nothing_behind(
    running: Any, http: httpx.Client, live: Live
) -> None:
    for _ in range(3):
        with http.stream("GET", live.path) as answer:
            incoming = messages(answer)  # kept: dropping it would close the connection
            next(incoming)
            wait_until(lambda: running.watchers == 1)
        wait_until(lambda: running.watchers == 0)
    pool = running.database.engine.pool
    # A look that others may share goes on without the one who has left.
    wait_until(lambda: pool.checkedout() == 0)


def test_wake_up_makes_the_stream_look_at_once(
    running: Any,
    http: httpx.Client,
    live: Live,
    redis_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # So that only a wake-up can be the reason.
    monkeypatch.setattr(stream, "POLL_S", 60.0)
    wake = Wake(redis_url)
    with http.stream("GET", live.path) as answer:
        incoming = (message for message in messages(answer) if "id" in message)
        assert [next(incoming)["id"] for _ in range(2)] == ["1", "2"]
        time.sleep(0.3)
        seq = live.epochs(1)
        started = time.monotonic()
        wake.publish(live.id, seq)
        assert next(incoming)["event"] == "epoch"
        assert time.monotonic() - started < 20
    wake.close()


def test_stream_looks_by_itself_when_no_wake_up_comes(http: httpx.Client, live: Live) -> None:
    with http.stream("GET", live.path) as answer:
        incoming = (message for message in messages(answer) if "id" in message)
        assert [next(incoming)["id"] for _ in range(2)] == ["1", "2"]
        live.epochs(1)
        assert next(incoming)["event"] == "epoch"


def test_cancel_wakes_the_stream(
    http: httpx.Client, spec: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "POLL_S", 60.0)
    job_id = http.post("/v1/jobs", json=spec | {"priority": -1000}).json()["id"]
    with http.stream("GET", f"/v1/jobs/{job_id}/stream") as answer:
        incoming = (message for message in messages(answer) if "event" in message)
        assert next(incoming)["id"] == "1"
        time.sleep(0.3)
        assert http.post(f"/v1/jobs/{job_id}/cancel").status_code == 202
        assert [message["event"] for message in incoming] == ["state", "end"]


def test_quiet_stream_sends_pings(
    http: httpx.Client, live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "POLL_S", 0.05)
    monkeypatch.setattr(stream, "PING_S", 0.2)
    with http.stream("GET", live.path) as answer:
        assert next(message for message in messages(answer) if "" in message) == {"": "ping"}


def test_stream_survives_broken_database_connections(
    running: Any,
    http: httpx.Client,
    live: Live,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stream, "POLL_S", 0.1)
    with http.stream("GET", live.path) as answer:
        incoming = (message for message in messages(answer) if "id" in message)
        assert [next(incoming)["id"] for _ in range(2)] == ["1", "2"]
        with running.database.engine.connect() as connection:
            connection.exec_driver_sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        # The trainer's side has connections of its own: only the stream's are broken.
        others = Database(database_url)
        live.epochs(1, database=others)
        others.dispose()
        assert next(incoming)["event"] == "epoch"


def test_server_stops_at_once_although_streams_are_open(
    serve: Any,
    settings: Any,
    database_url: str,
    redis_url: str,
    http: httpx.Client,
    live: Live,
) -> None:
    with (
        serve(settings, database_url, redis_url, open_access=True) as other,
        httpx.stream("GET", other.url + live.path, trust_env=False, timeout=30) as answer,
    ):
        incoming = messages(answer)
        while next(incoming).get("id") != "2":
            pass
        other.server.should_exit = True
        started = time.monotonic()
        assert list(incoming) == []
    assert time.monotonic() - started < 10


def test_stream_with_a_dead_broker_still_tells_everything(
    serve: Any, settings: Any, database_url: str, http: httpx.Client, live: Live
) -> None:
    dead = "redis://127.0.0.1:1/0"
    with (
        serve(settings, database_url, dead, open_access=True) as other,
        httpx.stream("GET", other.url + live.path, trust_env=False, timeout=30) as answer,
    ):
        incoming = (message for message in messages(answer) if "event" in message)
        assert [next(incoming)["id"] for _ in range(2)] == ["1", "2"]
        live.epochs(1)
        live.end()
        assert [message["event"] for message in incoming] == ["epoch", "state", "end"]


def test_create_does_not_need_the_broker(
    serve: Any,
    settings: Any,
    database_url: str,
    spec: dict[str, Any],
    running: Any,
    http: httpx.Client,
) -> None:
    with serve(settings, database_url, "redis://127.0.0.1:1/0", open_access=True) as other:
        started = time.monotonic()
        answer = httpx.post(f"{other.url}/v1/jobs", json=spec, trust_env=False, timeout=30)
        assert answer.status_code == 201
        assert time.monotonic() - started < 10
    assert http.get(answer.headers["location"]).json()["state"] == "queued"
