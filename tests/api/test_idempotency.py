"""A create that is sent again under its key is still one job."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx

from app.jobs import idempotency, keys


def jobs_of(http: httpx.Client, group: str) -> list[str]:
    """The identifiers of a group's jobs."""
    items = http.get("/v1/jobs", params={"label": f"g:{group}"}).json()["items"]
    return [item["id"] for item in items]


def test_repeated_create_is_answered_from_the_store(
    http: httpx.Client, spec: dict[str, Any]
) -> None:
    spec["labels"] = {"g": "repeat"}
    headers = {"Idempotency-Key": "repeat-1"}
    first = http.post("/v1/jobs", json=spec, headers=headers)
    assert first.status_code == 201
    assert "idempotent-replayed" not in first.headers
    http.post(f"{first.headers['location']}/cancel")
    # Other order of keys, same value: the same body.
    again = http.post("/v1/jobs", json=dict(reversed(spec.items())), headers=headers)
    assert again.status_code == 201
    assert again.json() == first.json(), "the first answer, not the job as it is by now"
    assert again.headers["location"] == first.headers["location"]
    assert again.headers["idempotent-replayed"] == "true"
    assert jobs_of(http, "repeat") == [first.json()["id"]]


def test_same_key_with_another_body_is_refused(http: httpx.Client, spec: dict[str, Any]) -> None:
    headers = {"Idempotency-Key": "other-body"}
    spec["labels"] = {"g": "other-body"}
    assert http.post("/v1/jobs", json=spec, headers=headers).status_code == 201
    answer = http.post("/v1/jobs", json=spec | {"priority": 1}, headers=headers)
    assert answer.status_code == 422
    assert answer.json()["code"] == "idempotency-mismatch"
    assert len(jobs_of(http, "other-body")) == 1


def test_refused_create_leaves_its_key_free(http: httpx.Client, spec: dict[str, Any]) -> None:
    headers = {"Idempotency-Key": "refused"}
    assert http.post("/v1/jobs", json=spec | {"extra": 1}, headers=headers).status_code == 422
    assert http.post("/v1/jobs", json=spec, headers=headers).status_code == 201


def test_dry_run_neither_uses_nor_answers_a_key(http: httpx.Client, spec: dict[str, Any]) -> None:
    headers = {"Idempotency-Key": "dry"}
    dry = http.post("/v1/jobs", params={"validate_only": "true"}, json=spec, headers=headers)
    assert dry.status_code == 200
    wet = http.post("/v1/jobs", json=spec, headers=headers)
    assert wet.status_code == 201
    assert "idempotent-replayed" not in wet.headers


def test_create_under_way_is_409(running: Any, http: httpx.Client, spec: dict[str, Any]) -> None:
    headers = {"Idempotency-Key": "slow"}
    with running.database.session() as session:
        idempotency.begin(session, idempotency.Asked("open", "POST /v1/jobs", "slow", "0" * 64))
        answer = http.post("/v1/jobs", json=spec, headers=headers)
        assert answer.status_code == 409
        assert answer.json()["code"] == "idempotency-in-flight"
        assert answer.headers["retry-after"] == "1"
    assert http.post("/v1/jobs", json=spec, headers=headers).status_code == 201


def test_simultaneous_creates_make_one_job(http: httpx.Client, spec: dict[str, Any]) -> None:
    spec["labels"] = {"g": "together"}
    headers = {"Idempotency-Key": "together"}
    with ThreadPoolExecutor(12) as pool:
        answers = list(
            pool.map(lambda _: http.post("/v1/jobs", json=spec, headers=headers), range(24))
        )
    assert {answer.status_code for answer in answers} <= {201, 409}
    made = {answer.json()["id"] for answer in answers if answer.status_code == 201}
    assert jobs_of(http, "together") == list(made)
    assert len(made) == 1


def test_keys_of_different_callers_are_different(
    running: Any, http: httpx.Client, spec: dict[str, Any]
) -> None:
    with running.database.session() as session:
        secrets = [keys.create(session, name, "submit")[1] for name in ("one", "two")]
    made = set()
    for secret in secrets:
        headers = {"Idempotency-Key": "shared", "Authorization": f"Bearer {secret}"}
        answer = http.post("/v1/jobs", json=spec, headers=headers)
        assert answer.status_code == 201
        made.add(answer.json()["id"])
    assert len(made) == 2


def test_creates_without_a_key_are_all_different(http: httpx.Client, spec: dict[str, Any]) -> None:
    spec["labels"] = {"g": "keyless"}
    for _ in range(2):
        http.post("/v1/jobs", json=spec)
    assert len(jobs_of(http, "keyless")) == 2


def test_storm_of_creates_makes_each_job_once(
    running: Any, http: httpx.Client, spec: dict[str, Any]
) -> None:
    """Faulty, repeated and plain requests at once: each gets its own answer."""
    spec["labels"] = {"g": "storm"}

    def post(number: int) -> httpx.Response:
        is_keyed = number % 2 and number % 5
        headers = {"Idempotency-Key": f"storm-{number % 10}"} if is_keyed else {}
        body = spec | ({"extra": 1} if number % 5 == 0 else {"priority": number % 10})
        return http.post("/v1/jobs", json=body, headers=headers)

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(post, range(60)))
    made = set()
    for number, answer in enumerate(answers):
        if number % 5 == 0:
            assert answer.status_code == 422
            assert [one["pointer"] for one in answer.json()["errors"]] == ["/extra"]
        elif answer.status_code == 201:
            assert answer.json()["priority"] == number % 10
            assert answer.headers["location"].endswith(answer.json()["id"])
            made.add(answer.json()["id"])
        else:
            assert (answer.status_code, number % 2) == (409, 1)
    # 24 without a key, and one for each of four keys.
    assert made == set(jobs_of(http, "storm"))
    assert len(made) == 28
