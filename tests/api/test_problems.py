"""Whatever goes wrong is problem+json with a request id; FastAPI's own shapes never appear."""

from __future__ import annotations

import copy
import json
import socket
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def assert_problem(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """The answer's problem, after checking its shape."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert body["status"] == status
    assert body["code"] == code
    assert body["type"].endswith(code)
    assert body["title"]
    assert body["detail"]
    assert body["instance"].startswith("/")
    assert body["request_id"] == answer.headers["x-request-id"]
    assert "Traceback" not in answer.text
    return body


def test_unknown_path(http: httpx.Client) -> None:
    assert_problem(http.get("/v1/nothing"), 404, "not-found")


def test_wrong_method(http: httpx.Client) -> None:
    answer = http.delete("/v1/jobs")
    assert_problem(answer, 405, "method-not-allowed")
    assert answer.headers["allow"]


@pytest.mark.parametrize("body", [b"", b"{not json", b'{"a": 1', b"\xff\xff"])
def test_body_that_is_not_json(http: httpx.Client, body: bytes) -> None:
    headers = {"content-type": "application/json"}
    assert_problem(http.post("/v1/jobs", content=body, headers=headers), 400, "invalid-json")


@pytest.mark.parametrize("body", [[], "text", 3, None, {}])
def test_body_that_is_not_a_job(http: httpx.Client, body: Any) -> None:
    answer = http.post("/v1/jobs", content=json.dumps(body))
    assert assert_problem(answer, 422, "invalid-spec")["errors"]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("[" * 100_000, "too-deep"),
        ('{"config": ' * 400 + "1" + "}" * 400, "too-deep"),
        ('{"priority": ' + "9" * 5000 + "}", "number-too-long"),
        ("[" + "1," * 30_000 + "1]", "too-many-values"),
    ],
)
def test_bodies_that_would_exhaust_the_server(http: httpx.Client, body: str, code: str) -> None:
    problem = assert_problem(http.post("/v1/jobs", content=body), 422, "invalid-spec")
    assert problem["errors"] == [{"pointer": "", "code": code, "message": ANY_TEXT}]


def test_body_declared_as_a_form(http: httpx.Client) -> None:
    answer = http.post("/v1/jobs", data={"name": "x"})
    assert_problem(answer, 415, "unsupported-media-type")


def test_body_over_the_limit_by_its_declared_length(http: httpx.Client) -> None:
    assert_problem(http.post("/v1/jobs", content=b" " * 1_048_577), 413, "body-too-large")
    assert_problem(http.post("/v1/jobs", content=b" " * 1_048_576), 400, "invalid-json")


def test_body_over_the_limit_sent_in_chunks(http: httpx.Client) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(40):
            yield b" " * 65_536

    assert_problem(http.post("/v1/jobs", content=chunks()), 413, "body-too-large")


def test_server_goes_on_when_a_client_leaves_in_the_middle_of_its_body(
    running: Any, http: httpx.Client
) -> None:
    port = httpx.URL(running.url).port
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(
            b"POST /v1/jobs HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n\r\n{"
        )
    assert http.get("/healthz").status_code == 200


def test_messages_do_not_send_a_megabyte_back(http: httpx.Client, spec: dict[str, Any]) -> None:
    spec["name"] = "x" * 900_000
    answer = http.post("/v1/jobs", json=spec)
    assert_problem(answer, 422, "invalid-spec")
    assert len(answer.content) < 5_000


def test_thousands_of_problems_are_named_in_seconds(
    http: httpx.Client, spec: dict[str, Any]
) -> None:
    spec["config"] |= {f"key{number}": 1 for number in range(9_000)}
    started = time.monotonic()
    problem = assert_problem(http.post("/v1/jobs", json=spec), 422, "invalid-spec")
    # Naming them used to take the square of their number: over half a minute for these.
    assert time.monotonic() - started < 20
    assert len(problem["errors"]) == 9_000


@pytest.mark.parametrize(
    ("path", "pointer"),
    [
        ("/v1/jobs?page_size=0", "/query/page_size"),
        ("/v1/jobs?page_size=1001", "/query/page_size"),
        ("/v1/jobs?page_size=many", "/query/page_size"),
        ("/v1/jobs?order_by=colour", "/query/order_by"),
        ("/v1/jobs?state=sleeping", "/query/state/0"),
        ("/v1/jobs?label=nocolon", "/query/label"),
        ("/v1/jobs?label=a:%00", "/query/label"),
        ("/v1/jobs?q=%00", "/query/q"),
        ("/v1/jobs?created_after=yesterday", "/query/created_after"),
        ("/v1/jobs?validate_only=true", "/query/validate_only"),
        ("/v1/datasets?page_token=%21", "/query/page_token"),
    ],
)
def test_query_parameters(http: httpx.Client, path: str, pointer: str) -> None:
    problem = assert_problem(http.get(path), 422, "invalid-request")
    assert [error["pointer"] for error in problem["errors"]] == [pointer]


def test_all_bad_query_parameters_are_named_at_once(http: httpx.Client) -> None:
    problem = assert_problem(
        http.get("/v1/jobs?page_size=0&created_after=x"), 422, "invalid-request"
    )
    assert {error["pointer"] for error in problem["errors"]} == {
        "/query/page_size",
        "/query/created_after",
    }


def test_unknown_query_parameter_names_the_nearest(
    http: httpx.Client, spec: dict[str, Any]
) -> None:
    before = http.get("/v1/jobs").json()["items"]
    answer = http.post("/v1/jobs?validate_onyl=true", json=spec)
    problem = assert_problem(answer, 422, "invalid-request")
    assert "'validate_only'" in problem["errors"][0]["message"]
    assert http.get("/v1/jobs").json()["items"] == before


@pytest.mark.parametrize("key", ["", "x" * 256, "with space", "k\u00e9y"])
def test_idempotency_key_that_cannot_be_one(
    http: httpx.Client, spec: dict[str, Any], key: str
) -> None:
    headers = {"Idempotency-Key": key.encode()}
    answer = http.post("/v1/jobs", json=spec, headers=headers)
    problem = assert_problem(answer, 422, "invalid-request")
    assert problem["errors"][0]["pointer"] == "/header/Idempotency-Key"


def test_defect_of_the_server_is_a_problem_without_its_cause(
    running: Any, http: httpx.Client
) -> None:
    def defect() -> None:
        raise RuntimeError("the secret cause")

    running.app.add_api_route("/defect", defect)
    answer = http.get("/defect")
    assert_problem(answer, 500, "internal-error")
    assert "secret" not in answer.text
    assert http.get("/healthz").status_code == 200


def test_request_id_is_the_clients_own_when_it_is_usable(http: httpx.Client) -> None:
    given = http.get("/v1/nothing", headers={"X-Request-Id": "trace-1.a"})
    assert given.headers["x-request-id"] == given.json()["request_id"] == "trace-1.a"
    forged = http.get("/healthz", headers={"X-Request-Id": 'a"b {'})
    assert forged.headers["x-request-id"].startswith("req_")
    assert http.get("/healthz").headers["x-request-id"].startswith("req_")


def test_database_that_does_not_answer_is_503(
    serve: Any, settings: Any, redis_url: str, spec: dict[str, Any], dataset: Any
) -> None:
    url = "postgresql+psycopg://nobody@127.0.0.1:1/none"
    with (
        serve(settings, url, redis_url, open_access=True) as away,
        httpx.Client(base_url=away.url, timeout=30, trust_env=False) as http,
    ):
        answers = [
            http.get("/v1/jobs"),
            http.post("/v1/jobs", json=spec),
            http.get("/v1/jobs/job_00000000000000000000000000/stream"),
        ]
        for answer in answers:
            assert_problem(answer, 503, "unavailable")
            assert answer.headers["retry-after"]
        assert http.get("/healthz").status_code == 200
        ready = assert_problem(http.get("/readyz"), 503, "not-ready")
        assert ready["checks"]["database"] != "ok"
        assert ready["checks"]["broker"] == "ok"


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_no_specification_is_a_server_error(
    http: httpx.Client, template: dict[str, Any], data: st.DataObject
) -> None:
    spec = copy.deepcopy(template)
    for _ in range(data.draw(st.integers(1, 3))):
        place: Any = spec
        while True:
            key = data.draw(st.sampled_from(sorted(place)) | st.text(max_size=8))
            if isinstance(place.get(key), dict) and place[key] and data.draw(st.booleans()):
                place = place[key]
                continue
            place[key] = data.draw(JSON)
            break
    answer = http.post("/v1/jobs?validate_only=true", content=json.dumps(spec))
    assert answer.status_code in {200, 422}, (spec, answer.text)
    if answer.status_code == 422:
        assert assert_problem(answer, 422, "invalid-spec")["errors"]


class _AnyText:
    def __eq__(self, other: object) -> bool:
        return isinstance(other, str) and bool(other)

    def __hash__(self) -> int:
        return 0


ANY_TEXT = _AnyText()
