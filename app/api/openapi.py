"""The API's description: FastAPI's own, completed by what its endpoints read by themselves."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from app.api.problem import ProblemAnswer
from app.api.release import VERSION
from gogooku3.config import JobSpec

_REF = "#/components/schemas/{model}"
_PARTS_OF_A_JOB = {
    "config": "TrainConfig",
    "resources": "ResourcesConfig",
    "limits": "LimitsConfig",
}
_ANSWERS_WITH_A_CONFIG = ("JobAnswer", "CheckedJob")

EXAMPLE = {
    "name": "baseline",
    "dataset": "jp",
    "labels": {"hypothesis": "adabelief"},
    "config": {
        "seed": 7,
        "max_epochs": 3,
        "data": {
            "lookback": 60,
            "horizons": [1, 5, 10, 20],
            "split": {"train_end": "2017-12-31", "valid_end": "2018-12-31"},
        },
        "model": {"kind": "atft_gat_fan", "hidden_size": 64, "gat": {"layers": 3}},
        "optimizer": {"kind": "adabelief", "lr": 1e-3},
    },
}

JOB_SPEC_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {"$ref": _REF.format(model="JobSpec")},
                "example": EXAMPLE,
            }
        },
    }
}
"""`openapi_extra` of endpoints that take a job's specification and check it themselves."""

DESCRIPTION = """Training jobs for stock-ranking models: post a specification, watch every epoch,
fetch the checkpoint. Errors are `application/problem+json` and list every problem at once."""


def describe(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document, made once."""
    if app.openapi_schema is None:
        document = get_openapi(
            title="gogooku3",
            version=VERSION,
            summary="The training-job server for stock-ranking models",
            description=DESCRIPTION,
            routes=app.routes,
        )
        schemas = document["components"]["schemas"]
        schemas |= _definitions(JobSpec, "JobSpec")
        schemas |= _definitions(ProblemAnswer, "Problem")
        for answer in _ANSWERS_WITH_A_CONFIG:
            for field, model in _PARTS_OF_A_JOB.items():
                described = schemas[answer]["properties"][field].get("description")
                reference = {"$ref": _REF.format(model=model)}
                schemas[answer]["properties"][field] = (
                    reference | {"description": described} if described else reference
                )
        document["components"]["schemas"] = dict(sorted(schemas.items()))
        app.openapi_schema = document
    return app.openapi_schema


def _definitions(model: type[Any], name: str) -> dict[str, Any]:
    schema = model.model_json_schema(ref_template=_REF)
    definitions: dict[str, Any] = schema.pop("$defs", {})
    return definitions | {name: schema}
