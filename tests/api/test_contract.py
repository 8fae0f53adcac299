"""Whatever is asked, the answer is one that the description promises: no defect of ours, no status,
header or body that is not described, and every error a problem.

A short look with every run of the suite, the same each time. For a long one, with other questions:

    pytest tests/api/test_contract.py --hypothesis-profile=thorough --timeout=7200
"""

from __future__ import annotations

import copy
import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    use_after_free,
)

from app.domain import Scope
from app.jobs import keys
from app.jobs.record import record
from app.main import description
from app.settings import Settings
from gogooku3.events import CheckpointEvent, EpochEvent, StartEvent

UNIT = hypothesis_settings.default.max_examples // 50
SHORT = 2
"""The unit in the suite."""


def bounded(examples: int) -> hypothesis_settings:
    """Ask this often; a failure is told as it was found."""
    return hypothesis_settings(
        max_examples=examples,
        deadline=None,
        derandomize=UNIT == SHORT,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        stateful_step_count=10,
    )


def errors_are_problems(_context: Any, response: Any, _case: Any) -> None:
    """problem+json with its own status, and no traceback."""
    if response.status_code >= 400:
        assert response.headers["content-type"] == ["application/problem+json"]
        assert response.json()["status"] == response.status_code
        assert "Traceback" not in response.text


CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    use_after_free,
    errors_are_problems,
]
FUZZED = ("/v1/jobs", "/v1/sweeps", "/v1/sweeps/preview", "/v1/datasets")
"""Take specifications, which have a test of their own: making them from their large schemas takes
seconds each."""
HOOKS = ("https://hooks.invalid/gogooku3", "http://127.0.0.1/", "ftp://hooks.invalid", "no address")
"""None of them is anybody's."""


@pytest.fixture(scope="module")
def asked(
    serve: Any,
    settings: Settings,
    dataset: Any,
    database_url: str,
    redis_url: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Any]:
    """A server that wants keys, with a home of its own: some of what is asked removes datasets."""
    own = Settings(home=tmp_path_factory.mktemp("asked"))
    own.artifacts.mkdir()
    shutil.copytree(settings.caches, own.caches)
    shutil.copy(own.caches / "tiny.arrow", own.caches / "spare.arrow")
    with serve(own, database_url, redis_url, open_access=False) as one:
        yield one


@pytest.fixture(scope="module")
def secret(asked: Any) -> str:
    """A key that may do everything, as often as it likes."""
    with asked.database.session() as session:
        return keys.create(session, "asker", Scope.ADMIN, requests_per_minute=0)[1]


@pytest.fixture(scope="module")
def api(asked: Any, secret: str) -> Any:
    """The API as it is described, without what never ends and what calls others."""
    document = json.loads(description())
    for path in ("/v1/jobs/{job_id}/stream", "/v1/webhooks/{webhook_id}/ping"):
        del document["paths"][path]
    schema = schemathesis.openapi.from_dict(document)
    headers = {"Authorization": f"Bearer {secret}"}
    schema.config.update(base_url=asked.url, headers=headers, request_timeout=30)
    return schema


@pytest.fixture(scope="module")
def known(asked: Any, secret: str, template: dict[str, Any]) -> dict[str, list[str]]:
    """Things that are there, by the name of the parameter that names them."""

    def make(path: str, body: Any) -> str:
        headers = {"Authorization": f"Bearer {secret}"}
        answer = httpx.post(asked.url + path, json=body, headers=headers, trust_env=False)
        assert answer.status_code in {201, 202}, answer.text
        return str(answer.json()["id"])

    trained = make("/v1/jobs", template | {"priority": 1000})
    claim = asked.claim()
    assert claim.job_id == trained
    content = b"a checkpoint"
    path = asked.settings.artifacts / trained / "attempt-1" / "epoch-0001.gk3"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    (path.parent.parent / "log.txt").write_text("epoch 1\n")
    told = [
        StartEvent(provenance={"pid": 1}),
        EpochEvent(epoch=1, metrics={"valid/rank_ic": 0.1, "valid/icir": None}, duration_s=1.0),
        CheckpointEvent(
            epoch=1,
            path=str(path.relative_to(asked.settings.artifacts)),
            size=len(content),
            sha256=hashlib.sha256(content).hexdigest(),
            is_best=True,
            metrics={"valid/rank_ic": 0.1},
        ),
    ]
    with asked.database.session() as session:
        record(session, trained, claim.attempt, told)
    headers = {"Authorization": f"Bearer {secret}"}
    where = f"{asked.url}/v1/jobs/{trained}/checkpoints"
    checkpoint = httpx.get(where, headers=headers, trust_env=False).json()["items"][0]["id"]
    sweep = {
        **{name: template[name] for name in ("dataset", "config")},
        "search_space": {"optimizer.lr": {"float": [1e-5, 1e-3], "log": True}},
        "objective": {"metric": "valid/rank_ic", "direction": "maximize"},
        "n_trials": 3,
    }
    return {
        "job_id": [trained, make("/v1/jobs", template)],
        "checkpoint_id": [checkpoint],
        "sweep_id": [make("/v1/sweeps", sweep)],
        "dataset_id": ["spare", "tiny"],
        "webhook_id": [
            make(
                "/v1/webhooks",
                {"url": HOOKS[0], "events": ["checkpoint.created"], "labels": {"no": "job"}},
            )
        ],
    }


def harmless(case: Any, choice: int) -> None:
    """Let no webhook be called, and leave the dataset that the others need."""
    if isinstance(case.body, dict) and "url" in case.body:
        case.body |= {"url": HOOKS[choice % len(HOOKS)], "labels": {"nobody": "has it"}}
    if case.method == "DELETE" and case.path_parameters.get("dataset_id") == "tiny":
        case.path_parameters["dataset_id"] = "spare"


def test_every_answer_is_described(api: Any, known: dict[str, list[str]]) -> None:
    seen: Counter[int] = Counter()
    for found in api.get_all_operations():
        operation = found.ok()
        if UNIT == SHORT and operation.method == "post" and operation.path in FUZZED:
            continue
        for mode in GenerationMode:

            @bounded(UNIT)
            @given(case=operation.as_strategy(generation_mode=mode), choice=st.integers(0, 7))
            def ask(case: Any, choice: int) -> None:
                for name, ids in known.items():
                    if name in case.path_parameters and choice:
                        case.path_parameters[name] = ids[choice % len(ids)]
                harmless(case, choice)
                response = case.call()
                seen[response.status_code] += 1
                if not (case.path == "/readyz" and response.status_code == 503):
                    case.validate_response(response, checks=CHECKS)

            try:
                ask()
            except Unsatisfiable:
                assert mode is GenerationMode.NEGATIVE, "there is nothing to ask wrongly"
    assert {200, 404, 422} <= set(seen)


def test_every_answer_to_what_follows_is_described(api: Any, template: dict[str, Any]) -> None:
    gone_on: Counter[int] = Counter()

    class Story(api.as_state_machine()):  # type: ignore[misc]
        """Makes things, and goes on with what it was answered."""

        def before_call(self, case: Any) -> None:
            harmless(case, len(case.id))
            if (case.method, case.path) == ("POST", "/v1/jobs"):
                case.body = copy.deepcopy(template)

        def validate_response(self, response: Any, case: Any, **_: Any) -> None:
            gone_on[response.status_code] += "{" in case.path
            case.validate_response(response, checks=CHECKS)

    Story.run(settings=bounded(6 * UNIT))
    assert gone_on[200] + gone_on[202] > 0, "nothing that was made was gone on with"


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)


@st.composite
def mutilated(draw: st.DrawFn, whole: dict[str, Any]) -> Any:
    """A valid specification in which up to four places were made odd."""
    spec = copy.deepcopy(whole)
    for _ in range(draw(st.integers(1, 4))):
        place: Any = spec
        while True:
            key = draw(
                st.sampled_from(list(place) if isinstance(place, dict) else range(len(place)))
            )
            inner = place[key]
            if not (isinstance(inner, dict | list) and inner) or draw(st.integers(0, 3)) == 0:
                break
            place = inner
        match draw(st.sampled_from(["replace", "remove", "add"])):
            case "replace":
                place[key] = draw(JSON | st.sampled_from([0, -1, 2**63, 1e308, "", "x" * 300]))
            case "remove" if len(place) > 1 or place is not spec:
                del place[key]
            case _ if isinstance(place, dict):
                place[draw(st.text(max_size=8))] = draw(JSON)
        if not spec:
            break
    return spec


def valid(path: str, template: dict[str, Any]) -> dict[str, Any]:
    """A specification with every part that may be given."""
    job = template | {
        "labels": {"team": "red"},
        "priority": 1,
        "note": "x",
        "resources": {"gpus": 0, "cpu_threads": 1},
        "limits": {"max_attempts": 2, "timeout_s": 60},
    }
    if path == "/v1/jobs":
        return job
    if path == "/v1/datasets":
        source = {"kind": "file", "path": "bars.parquet"}
        return {"name": "built", "source": source, "horizons": [1, 5], "top": 100, "labels": {}}
    return {
        "dataset": template["dataset"],
        "config": template["config"],
        "search_space": {
            "optimizer.lr": {"float": [1e-5, 1e-3], "log": True},
            "optimizer.kind": {"choice": ["adamw", "adabelief"]},
            "model.hidden_size": {"int": [8, 32]},
            "scheduler.t_0": {"int": [2, 6], "when": {"scheduler.kind": "cosine_restarts"}},
        },
        "objective": {"metric": "valid/rank_ic", "direction": "maximize"},
        "sampler": {"kind": "tpe", "seed": 3},
        "pruner": {"kind": "median"},
        "n_trials": 4,
        "max_parallel": 2,
        "labels": {"a": "b"},
    }


@pytest.mark.parametrize("path", FUZZED)
def test_no_specification_is_too_much(api: Any, template: dict[str, Any], path: str) -> None:
    operation = api[path]["POST"]

    @bounded(15 * UNIT)
    @given(body=mutilated(valid(path, template)))
    def ask(body: Any) -> None:
        case = operation.Case(body=body, media_type="application/json")
        case.call_and_validate(checks=CHECKS)

    ask()
