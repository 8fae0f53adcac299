"""The description of the API: complete, true, and changed only on purpose."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.main import description
from gogooku3.config import JobSpec

SNAPSHOT = Path(__file__).parents[2] / "docs" / "openapi.json"


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    """The description as the server would give it."""
    return dict(json.loads(description()))


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Method, path and description of each operation."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method, path, operation


def references(value: Any) -> Iterator[str]:
    """Every `$ref` in a document."""
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for item in value.values():
            yield from references(item)
    elif isinstance(value, list):
        for item in value:
            yield from references(item)


def test_snapshot_is_current(document: dict[str, Any]) -> None:
    assert document == json.loads(SNAPSHOT.read_text()), (
        "the API's description changed; if that is meant (additions only, clients rely on it): "
        "python -m app.main --openapi > docs/openapi.json"
    )


def test_server_gives_this_description(http: httpx.Client, document: dict[str, Any]) -> None:
    assert http.get("/openapi.json").json() == document


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    found = set(references(document))
    assert "#/components/schemas/Problem" in found
    for reference in found:
        target: Any = document
        for key in reference.removeprefix("#/").split("/"):
            assert key in target, reference
            target = target[key]


def test_create_takes_the_specification_itself(document: dict[str, Any]) -> None:
    body = document["paths"]["/v1/jobs"]["post"]["requestBody"]
    assert body["required"] is True
    schema = body["content"]["application/json"]["schema"]
    assert schema == {"$ref": "#/components/schemas/JobSpec"}
    expected = JobSpec.model_json_schema(ref_template="#/components/schemas/{model}")
    assert document["components"]["schemas"]["JobSpec"]["properties"] == expected["properties"]
    assert document["components"]["schemas"]["JobSpec"]["additionalProperties"] is False
    answer = document["components"]["schemas"]["JobAnswer"]["properties"]["config"]
    references = [option["$ref"] for option in answer["anyOf"]]
    assert references == [f"#/components/schemas/{n}" for n in ("TrainConfig", "DatasetConfig")]


def test_example_of_the_description_is_valid(document: dict[str, Any]) -> None:
    body = document["paths"]["/v1/jobs"]["post"]["requestBody"]
    JobSpec.model_validate(body["content"]["application/json"]["example"])


def test_every_error_is_described_as_a_problem(document: dict[str, Any]) -> None:
    for method, path, operation in operations(document):
        for status, answer in operation["responses"].items():
            if int(status) < 400:
                continue
            assert list(answer["content"]) == ["application/problem+json"], (method, path, status)
        if path.startswith("/v1/") and path != "/v1/version":
            assert {"401", "403", "422", "500", "503"} <= set(operation["responses"]), path
            assert operation["security"] == [{"ApiKey": []}]
        if "{" in path:
            assert "404" in operation["responses"], path
        assert operation["summary"]
    assert "HTTPValidationError" not in document["components"]["schemas"]


def test_operations_have_names_of_their_own(document: dict[str, Any]) -> None:
    names = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(set(names)) == len(names)
    assert "create_job" in names


@pytest.mark.parametrize(
    ("path", "schema"),
    [
        ("/v1/jobs", "JobPage"),
        ("/v1/jobs/{job}", "JobAnswer"),
        ("/v1/jobs/{job}/events", "EventPage"),
        ("/v1/jobs/{job}/metrics", "MetricsAnswer"),
        ("/v1/jobs/{job}/attempts", "AttemptPage"),
        ("/v1/jobs/{job}/checkpoints", "CheckpointPage"),
        ("/v1/datasets", "DatasetPage"),
        ("/v1/datasets/tiny", "DatasetAnswer"),
        ("/v1/workers", "WorkerPage"),
        ("/v1/version", "Version"),
        ("/v1/nothing", "Problem"),
    ],
)
def test_answers_hold_what_is_described(
    http: httpx.Client, document: dict[str, Any], spec: dict[str, Any], path: str, schema: str
) -> None:
    job = http.post("/v1/jobs", json=spec).json()["id"]
    answer = http.get(path.format(job=job)).json()
    properties = set(document["components"]["schemas"][schema]["properties"])
    optional = {"errors", "checks"} if schema == "Problem" else set()
    assert set(answer) | optional == properties
