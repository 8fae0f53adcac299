"""API keys: what is presented is always checked, and only a direct local request needs none."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from app.api.keyring import KEPT_S, Keyring
from app.domain import Scope, UnauthenticatedError
from app.jobs import keys
from app.main import is_loopback, may_be_open
from app.settings import Settings


@pytest.fixture(scope="module")
def closed(
    serve: Any, settings: Any, dataset: Any, database_url: str, redis_url: str
) -> Iterator[Any]:
    """A server that wants a key from everybody."""
    with serve(settings, database_url, redis_url, open_access=False) as one:
        yield one


def new_key(running: Any, scope: Scope, **limits: Any) -> str:
    """The secret of a new key."""
    with running.database.session() as session:
        return keys.create(session, scope.value, scope, **limits)[1]


def ask(running: Any, method: str, path: str, secret: str | None, **options: Any) -> httpx.Response:
    """One request, with a key or without."""
    headers = {} if secret is None else {"Authorization": f"Bearer {secret}"}
    headers |= options.pop("headers", {})
    return httpx.request(
        method, running.url + path, headers=headers, trust_env=False, timeout=30, **options
    )


@pytest.mark.parametrize(
    "path", ["/v1/jobs", "/v1/datasets", "/v1/workers", "/v1/jobs/job_x/stream", "/v1/jobs?x=1"]
)
def test_closed_server_wants_a_key(closed: Any, path: str) -> None:
    answer = ask(closed, "GET", path, None)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == "unauthenticated"


@pytest.mark.parametrize("path", ["/healthz", "/v1/version", "/openapi.json", "/docs"])
def test_what_everybody_may_see(closed: Any, path: str) -> None:
    assert ask(closed, "GET", path, None).status_code == 200


def test_scopes_include_each_other_upwards(closed: Any, spec: dict[str, Any]) -> None:
    read, submit, admin = (new_key(closed, scope) for scope in Scope)
    for secret in (read, submit, admin):
        assert ask(closed, "GET", "/v1/jobs", secret).status_code == 200
    refused = ask(closed, "POST", "/v1/jobs", read, json=spec)
    assert refused.status_code == 403
    assert refused.json()["code"] == "forbidden"
    assert "submit" in refused.json()["detail"]
    assert ask(closed, "POST", "/v1/jobs?validate_only=1", read, json=spec).status_code == 403
    made = ask(closed, "POST", "/v1/jobs", submit, json=spec)
    assert made.status_code == 201
    cancel = f"/v1/jobs/{made.json()['id']}/cancel"
    assert ask(closed, "POST", cancel, read).status_code == 403
    assert ask(closed, "POST", cancel, admin).status_code == 202


def test_expired_and_revoked_keys_are_worth_nothing(closed: Any) -> None:
    past = datetime.now(UTC) - timedelta(seconds=1)
    assert (
        ask(closed, "GET", "/v1/jobs", new_key(closed, Scope.ADMIN, expires_at=past)).status_code
        == 401
    )
    with closed.database.session() as session:
        key, secret = keys.create(session, "gone", Scope.ADMIN)
    assert ask(closed, "GET", "/v1/jobs", secret).status_code == 200
    with closed.database.session() as session:
        keys.revoke(session, key.id)
    deadline = time.monotonic() + 30
    while ask(closed, "GET", "/v1/jobs", secret).status_code == 200:
        assert time.monotonic() < deadline, "a revoked key goes on working"


def test_known_key_is_not_asked_for_again_and_not_kept_for_long(
    closed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ring, secret = Keyring(closed.database), new_key(closed, Scope.READ)
    assert ring.authenticate(secret).scope is Scope.READ
    asked = []
    monkeypatch.setattr(keys, "authenticate", lambda *_: asked.append(1) or _refuse())
    assert ring.authenticate(secret).scope is Scope.READ
    monkeypatch.setattr("app.api.keyring.time.monotonic", lambda: time.time() + KEPT_S)
    with pytest.raises(UnauthenticatedError):
        ring.authenticate(secret)
    assert asked == [1]


def _refuse() -> None:
    raise UnauthenticatedError()


@pytest.mark.parametrize("header", ["gk_x", "Bearer", "Bearer gk_x", "Basic Z2s6eA==", ""])
def test_open_server_checks_whatever_is_presented(running: Any, header: str) -> None:
    answer = ask(running, "GET", "/v1/jobs", None, headers={"Authorization": header})
    assert answer.status_code == 401


def test_open_server_checks_scopes_of_presented_keys(running: Any, spec: dict[str, Any]) -> None:
    answer = ask(running, "POST", "/v1/jobs", new_key(running, Scope.READ), json=spec)
    assert answer.status_code == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Host": "evil.example"},
        {"Host": "localhost.evil.example"},
        {"Host": "[not-an-address"},
        {"Host": ""},
        {"Origin": "http://[::1"},
        {"X-Forwarded-For": "203.0.113.9"},
        {"Forwarded": "for=203.0.113.9"},
    ],
)
def test_open_server_answers_nobody_through_a_browser_or_a_proxy(
    running: Any, spec: dict[str, Any], headers: dict[str, str]
) -> None:
    assert ask(running, "POST", "/v1/jobs", None, json=spec, headers=headers).status_code == 401
    secret = new_key(running, Scope.SUBMIT)
    assert ask(running, "POST", "/v1/jobs", secret, json=spec, headers=headers).status_code == 201


def test_open_server_answers_its_own_pages(running: Any) -> None:
    host = running.url.removeprefix("http://")
    headers = {"Origin": f"http://{host}"}
    assert ask(running, "GET", "/v1/jobs", None, headers=headers).status_code == 200
    port = host.partition(":")[2]
    assert (
        ask(running, "GET", "/v1/jobs", None, headers={"Host": f"localhost:{port}"}).status_code
        == 200
    )
    assert (
        ask(running, "GET", "/v1/jobs", None, headers={"Host": f"[::1]:{port}"}).status_code == 200
    )


def test_key_with_a_limit_is_429_until_its_jobs_leave_the_queue(
    closed: Any, spec: dict[str, Any]
) -> None:
    secret = new_key(closed, Scope.SUBMIT, max_queued=1)
    first = ask(closed, "POST", "/v1/jobs", secret, json=spec)
    assert first.status_code == 201
    second = ask(closed, "POST", "/v1/jobs", secret, json=spec)
    assert second.status_code == 429
    assert second.json()["code"] == "too-many-jobs"
    assert int(second.headers["retry-after"]) > 0
    ask(closed, "POST", f"/v1/jobs/{first.json()['id']}/cancel", secret)
    assert ask(closed, "POST", "/v1/jobs", secret, json=spec).status_code == 201


def test_key_that_asks_too_often_is_429_until_the_window_ends(
    serve: Any, settings: Settings, database_url: str, redis_url: str
) -> None:
    few = settings.model_copy(update={"requests_per_minute": 60})
    with serve(few, database_url, redis_url, open_access=False) as one:
        usual, more = new_key(one, Scope.READ), new_key(one, Scope.READ, requests_per_minute=0)
        # At most two windows of ten requests are touched.
        answers = [ask(one, "GET", "/v1/jobs", usual) for _ in range(25)]
        refused = [answer for answer in answers if answer.status_code == 429]
        assert refused, "nobody counted"
        assert 10 <= answers.index(refused[0]) <= 20
        assert refused[0].json()["code"] == "too-many-requests"
        assert 1 <= int(refused[0].headers["retry-after"]) <= 10
        assert {ask(one, "GET", "/v1/jobs", more).status_code for _ in range(25)} == {200}


def test_guessing_keys_is_slow(closed: Any) -> None:
    statuses = {ask(closed, "GET", "/v1/jobs", f"gk_guess{n}").status_code for n in range(25)}
    assert statuses == {401, 429}


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.1", False),
        ("example.org", False),
        ("", False),
    ],
)
def test_loopback(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


def test_who_may_be_open(empty_database_url: str, tmp_path: Any) -> None:
    from app.db.database import Database
    from app.db.migrate import upgrade

    upgrade(empty_database_url)
    embedded = Settings(home=tmp_path, database_url=None, redis_url=None)
    external = Settings(home=tmp_path, database_url=empty_database_url, redis_url=None)

    def verdicts() -> list[bool | None]:
        return [
            may_be_open(settings, host, empty_database_url)
            for settings in (embedded, external)
            for host in ("127.0.0.1", "0.0.0.0")
        ]

    assert verdicts() == [True, None, True, None]
    database = Database(empty_database_url)
    with database.session() as session:
        key, _ = keys.create(session, "first", Scope.READ)
    assert verdicts() == [True, False, False, False]
    with database.session() as session:
        keys.revoke(session, key.id)
    database.dispose()
    assert verdicts() == [True, None, True, None]
