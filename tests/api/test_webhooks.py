"""Webhooks: told once committed, signed, tried again, and sent nowhere they must not go."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_network
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from app.api import egress
from app.api.deliverer import HANDS
from app.api.egress import EgressError, check_url, post, resolve
from app.jobs import webhooks
from app.jobs.finish import finish
from app.jobs.outcome import Outcome
from app.settings import Settings

LOOPBACK = [ip_network("127.0.0.0/8")]


@dataclass
class Receiver:
    """An HTTP server that keeps what it is sent and answers as it is told to."""

    url: str = ""
    received: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    """Statuses of the next answers; then 204."""

    def bodies(self) -> list[dict[str, Any]]:
        """What came, in order."""
        return [json.loads(body) for _, body in self.received]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """Listens on a free port of this machine."""
    kept = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            kept.received.append(({k.lower(): v for k, v in self.headers.items()}, body))
            self.send_response(kept.answers.pop(0) if kept.answers else 204)
            self.send_header("Location", "http://169.254.169.254/latest/meta-data")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing to say."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    kept.url = f"http://127.0.0.1:{server.server_port}/hook"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield kept
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="module")
def sending(
    serve: Any, settings: Settings, dataset: Any, database_url: str, redis_url: str
) -> Iterator[Any]:
    """A server whose administrator allows webhooks to this machine."""
    allowing = settings.model_copy(update={"webhook_networks": "127.0.0.0/8"})
    with serve(allowing, database_url, redis_url, open_access=True) as one:
        yield one


@pytest.fixture
def client(sending: Any) -> Iterator[httpx.Client]:
    """Of that server, without webhooks at first."""
    with sending.database.session() as session:
        session.execute(text("DELETE FROM webhooks"))
    with httpx.Client(base_url=sending.url, timeout=30, trust_env=False) as client:
        yield client


def wait_for(condition: Callable[[], Any]) -> Any:
    """What the condition answers as soon as it is something."""
    deadline = time.monotonic() + 30
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)
    return found


def hook(client: httpx.Client, url: str, **more: Any) -> dict[str, Any]:
    """A new webhook."""
    body = {"url": url, "events": ["job.queued", "job.cancelled"], **more}
    answer = client.post("/v1/webhooks", json=body)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def test_receiver_is_told_and_can_check_who_told(
    client: httpx.Client, receiver: Receiver, spec: dict[str, Any]
) -> None:
    made = hook(client, receiver.url, labels={"team": "red"})
    job = client.post("/v1/jobs", json=spec).json()["id"]
    client.post("/v1/jobs", json=spec | {"labels": {"team": "blue"}})
    client.post(f"/v1/jobs/{job}/cancel")
    wait_for(lambda: len(receiver.received) == 2)
    assert sorted(body["type"] for body in receiver.bodies()) == ["job.cancelled", "job.queued"]
    for (headers, body), told in zip(receiver.received, receiver.bodies(), strict=True):
        assert told["job"]["id"] == job
        assert told["job"]["labels"] == {"team": "red"}
        assert told["id"] == headers["webhook-id"]
        assert abs(int(headers["webhook-timestamp"]) - time.time()) < 60
        key = base64.b64decode(made["secret"].removeprefix("whsec_"))
        signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
        expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
        assert headers["webhook-signature"] == f"v1,{expected}"
        assert "authorization" not in headers
    path = f"/v1/webhooks/{made['id']}/deliveries"
    listed = wait_for(
        lambda: [d for d in client.get(path).json()["items"] if d["state"] == "delivered"][:2]
    )
    assert {(d["status"], d["attempts"], d["job_id"]) for d in listed} == {(204, 1, job)}


def test_what_is_rolled_back_is_not_told(sending: Any, client: httpx.Client) -> None:
    hook(client, "https://example.org/hook")
    with sending.database.session() as session:
        session.execute(
            text(
                "INSERT INTO events (job_id, seq, type, attempt, payload) "
                "SELECT id, 900, 'state', 0, '{\"state\": \"queued\"}' FROM jobs LIMIT 1"
            )
        )
        assert session.scalar(text("SELECT count(*) FROM webhook_deliveries")) == 1
        session.rollback()
    with sending.database.session() as session:
        assert session.scalar(text("SELECT count(*) FROM webhook_deliveries")) == 0


def test_refusal_is_tried_again_with_the_same_body(
    client: httpx.Client, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhooks, "DELAYS_S", (0.05,) * 8)
    receiver.answers = [500, 302]
    made = hook(client, receiver.url)
    assert client.post(f"/v1/webhooks/{made['id']}/ping").json()["state"] == "pending"
    wait_for(lambda: len(receiver.received) == 3)
    assert len({body for _, body in receiver.received}) == 1
    assert len({headers["webhook-id"] for headers, _ in receiver.received}) == 1
    path = f"/v1/webhooks/{made['id']}/deliveries"
    wait_for(lambda: client.get(path).json()["items"][0]["state"] == "delivered")
    assert client.get(path).json()["items"][0]["attempts"] == 3


@pytest.fixture
def dripping() -> Iterator[str]:
    """The address of a receiver that takes whatever comes and answers a byte now and then, never
    all of it."""
    ended = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
            while not ended.wait(0.05):
                self.wfile.write(b"x")

        def log_message(self, *_: object) -> None:
            """Nothing to say."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/hook"
    ended.set()
    server.shutdown()
    server.server_close()
    thread.join()


def test_receiver_that_lets_its_answer_drip_is_left(
    dripping: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(egress, "TIMEOUT_S", 0.5)
    began = time.monotonic()
    with pytest.raises(EgressError, match=r"no answer within 0\.5 s"):
        post(dripping, b"{}", {}, LOOPBACK)
    assert time.monotonic() - began < 5


def test_slow_receiver_of_many_deliveries_holds_up_no_other(
    client: httpx.Client, receiver: Receiver, dripping: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(egress, "TIMEOUT_S", 25)
    slow, healthy = hook(client, dripping), hook(client, receiver.url)
    for _ in range(2 * HANDS):
        client.post(f"/v1/webhooks/{slow['id']}/ping")
    path = f"/v1/webhooks/{slow['id']}/deliveries"
    wait_for(lambda: any(d["attempts"] for d in client.get(path).json()["items"]))
    began = time.monotonic()
    for _ in range(3):
        client.post(f"/v1/webhooks/{healthy['id']}/ping")
    wait_for(lambda: len(receiver.received) == 3)
    assert time.monotonic() - began < 20
    tried = [d["attempts"] for d in client.get(path).json()["items"]]
    assert sum(tried) == 1, "it has one hand at a time"


def test_receiver_that_never_takes_it_is_given_up(
    client: httpx.Client, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhooks, "DELAYS_S", (0.01, 0.01))
    receiver.answers = [500] * 9
    made = hook(client, receiver.url)
    client.post(f"/v1/webhooks/{made['id']}/ping")
    path = f"/v1/webhooks/{made['id']}/deliveries"
    [one] = wait_for(
        lambda: [d for d in client.get(path).json()["items"] if d["state"] == "failed"]
    )
    assert (one["attempts"], one["status"], one["next_at"]) == (3, 500, None)
    assert "HTTP 500" in one["error"]
    assert len(receiver.received) == 3


def test_a_taken_delivery_is_due_again_when_its_holder_died(
    sending: Any, client: httpx.Client
) -> None:
    made = hook(client, "https://example.org/hook")
    with sending.database.session() as session:
        webhooks.ping(session, made["id"])
        [first] = webhooks.take_due(session, 5)
    with sending.database.session() as session:
        assert webhooks.take_due(session, 5) == []
        session.execute(text("UPDATE webhook_deliveries SET next_at = now() - interval '1 s'"))
        [second] = webhooks.take_due(session, 5)
        assert (second.seq, second.attempts) == (first.seq, 2)
        # The first holder wakes up late: it has nothing to say any more.
        webhooks.refused(session, first, "late")
        webhooks.delivered(session, second, 200)
        [row] = webhooks.deliveries(session, made["id"])
        assert (row.state, row.error) == ("delivered", None)


def test_checkpoints_and_ends_are_told(
    sending: Any, client: httpx.Client, receiver: Receiver, spec: dict[str, Any]
) -> None:
    hook(client, receiver.url, events=["job.failed"])
    client.post("/v1/jobs", json=spec | {"priority": 999})
    held = sending.claim()
    reason = {"class": "user", "code": "x", "message": "m", "next_action": None}
    with sending.database.session() as session:
        finish(session, held.job_id, held.attempt, outcome=Outcome.FAILED, reason=reason)
    wait_for(lambda: receiver.received)
    [told] = receiver.bodies()
    assert told["type"] == "job.failed"
    assert told["event"]["payload"]["reason"] == reason


def test_repeated_create_makes_one_webhook(client: httpx.Client) -> None:
    body = {"url": "https://example.org/hook", "events": ["job.failed"]}
    headers = {"Idempotency-Key": "hook-1"}
    refused = client.post("/v1/webhooks", json=body | {"url": "ftp://x"}, headers=headers)
    assert refused.status_code == 422
    first = client.post("/v1/webhooks", json=body, headers=headers)
    again = client.post("/v1/webhooks", json=body, headers=headers)
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json() == first.json(), "with the secret: its receiver may never have had it"
    assert again.headers["location"] == first.headers["location"]
    assert again.headers["idempotent-replayed"] == "true"
    assert [one["id"] for one in client.get("/v1/webhooks").json()["items"]] == [first.json()["id"]]
    other = client.post("/v1/webhooks", json=body | {"labels": {"a": "b"}}, headers=headers)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency-mismatch")


def test_secret_is_shown_once_and_deleting_ends_it(client: httpx.Client) -> None:
    made = hook(client, "https://example.org/hook")
    assert made["secret"].startswith("whsec_")
    assert "secret" not in client.get(f"/v1/webhooks/{made['id']}").json()
    [listed] = client.get("/v1/webhooks").json()["items"]
    assert "secret" not in listed
    client.post(f"/v1/webhooks/{made['id']}/ping")
    assert client.delete(f"/v1/webhooks/{made['id']}").status_code == 204
    assert client.get(f"/v1/webhooks/{made['id']}").status_code == 404
    assert client.delete(f"/v1/webhooks/{made['id']}").status_code == 404


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.org/x",
        "https://",
        "https://user:pw@example.org/",
        "http://10.0.0.1/x",
        "http://169.254.169.254/latest/meta-data",
        "http://[::1]:80/",
        "http://[::ffff:10.0.0.1]/",
        "http://[fe80::1]/",
        "http://[64:ff9b::a00:1]/",
        "http://0.0.0.0/",
        "http://224.0.0.1/",
        "http://example.org:99999/",
        "http://example.org/\u00e9",
    ],
)
def test_address_that_must_not_be_asked(client: httpx.Client, url: str) -> None:
    answer = client.post("/v1/webhooks", json={"url": url, "events": ["job.failed"]})
    assert answer.status_code == 422, answer.text
    assert [error["pointer"] for error in answer.json()["errors"]] == ["/url"]


def test_loopback_needs_an_administrator_who_allows_it() -> None:
    with pytest.raises(EgressError, match="GOGOOKU3_WEBHOOK_NETWORKS"):
        check_url("http://127.0.0.1:8642/v1/jobs", [])
    check_url("http://127.0.0.1:8642/v1/jobs", LOOPBACK)
    with pytest.raises(ValueError, match="network"):
        Settings(webhook_networks="somewhere")


def names(monkeypatch: pytest.MonkeyPatch, table: dict[str, list[str]]) -> list[str]:
    """Resolve names from `table`; answers the list of what is asked for."""
    asked: list[str] = []
    real = socket.getaddrinfo

    def lookup(host: str, port: int, *more: Any, **options: Any) -> Any:
        asked.append(host)
        if host not in table:
            return real(host, port, *more, **options)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, port)) for ip in table[host]]

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    return asked


@pytest.mark.parametrize("addresses", [["10.1.2.3"], ["1.1.1.1", "192.168.0.1"], ["127.0.0.1"]])
def test_name_of_a_private_address_is_not_asked(
    monkeypatch: pytest.MonkeyPatch, addresses: list[str]
) -> None:
    names(monkeypatch, {"inside.example": addresses})
    with pytest.raises(EgressError, match="not a public address"):
        resolve("inside.example", 443, [])


def test_connection_goes_to_the_address_that_was_looked_at(
    monkeypatch: pytest.MonkeyPatch, receiver: Receiver
) -> None:
    asked = names(monkeypatch, {"hook.example": ["127.0.0.1"]})
    url = receiver.url.replace("127.0.0.1", "hook.example")
    assert post(url, b"{}", {}, LOOPBACK) == 204
    assert asked.count("hook.example") == 1, "a second look-up could answer otherwise"
    [(headers, _)] = receiver.received
    assert headers["host"] == url.split("/")[2]


def test_redirect_is_not_followed(receiver: Receiver) -> None:
    receiver.answers = [302]
    with pytest.raises(EgressError, match="redirects are not followed") as caught:
        post(receiver.url, b"{}", {}, LOOPBACK)
    assert caught.value.status == 302
    assert len(receiver.received) == 1
