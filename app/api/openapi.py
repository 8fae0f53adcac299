"""The API's description: FastAPI's own, completed by what its endpoints read by themselves."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from app.api.problem import ProblemAnswer
from app.api.release import VERSION
from app.api.requests import MetricsQuery, QueueMove, SweepExtension, WebhookSpec
from gogooku3.config import DatasetConfig, DatasetSpec, JobPatch, JobSpec, SweepSpec

_REF = "#/components/schemas/{model}"
_ANSWERS_WITH_PARTS: dict[str, dict[str, tuple[str, ...]]] = {
    "JobAnswer": {
        "config": ("TrainConfig", "DatasetConfig"),
        "resources": ("ResourcesConfig",),
        "limits": ("LimitsConfig",),
    },
    "CheckedJob": {
        "config": ("TrainConfig",),
        "resources": ("ResourcesConfig",),
        "limits": ("LimitsConfig",),
    },
    "SweepAnswer": {"config": ("SweepSpec",)},
    "CheckedSweepAnswer": {"config": ("SweepSpec",)},
    "SweepPreview": {"config": ("SweepSpec",)},
    "CheckedDataset": {
        "config": ("DatasetConfig",),
        "resources": ("BuildResources",),
        "limits": ("LimitsConfig",),
    },
}
"""Fields of answers that hold, as plain objects, what these models describe."""

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

DATASET_EXAMPLE = {
    "name": "jp",
    "source": {"kind": "file", "path": "bars.parquet"},
    "horizons": [1, 5, 10, 20],
    "top": 1000,
}


SWEEP_EXAMPLE = {
    "name": "production",
    "dataset": "jp",
    "config": EXAMPLE["config"],
    "search_space": {
        "optimizer.kind": {"choice": ["adamw", "adabelief"]},
        "optimizer.lr": {"float": [1e-5, 1e-3], "log": True},
        "model.gat.layers": {"int": [2, 4]},
    },
    "objective": {"metric": "valid/rank_ic", "direction": "maximize"},
    "sampler": {"kind": "tpe", "seed": 3},
    "pruner": {"kind": "asha"},
    "n_trials": 20,
    "max_parallel": 2,
}


def body_of(model: str, example: dict[str, Any]) -> dict[str, Any]:
    """`openapi_extra` of an endpoint that takes `model` and checks it itself."""
    schema = {"$ref": _REF.format(model=model)}
    content = {"application/json": {"schema": schema, "example": example}}
    return {"requestBody": {"required": True, "content": content}}


JOB_SPEC_BODY = body_of("JobSpec", EXAMPLE)
JOB_PATCH_BODY = body_of("JobPatch", {"labels": {"team": "red", "draft": None}, "priority": 10})
DATASET_SPEC_BODY = body_of("DatasetSpec", DATASET_EXAMPLE)
SWEEP_SPEC_BODY = body_of("SweepSpec", SWEEP_EXAMPLE)
EXTENSION_BODY = body_of("SweepExtension", {"n_trials": 40})
RETENTION_BODY = body_of("RetentionConfig", {"save_sweep_best": 1, "save_trial_best": 0})
"""`openapi_extra` of endpoints that take a specification and check it themselves."""

OVERRIDES_BODY = {
    "requestBody": {
        "required": False,
        "content": {
            "application/json": {
                "schema": {"type": "object"},
                "example": {"config": {"optimizer": {"lr": 3e-4}}},
            }
        },
    }
}
"""`openapi_extra` of an endpoint that takes any part of a specification."""

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
        schemas |= _definitions(JobPatch, "JobPatch")
        schemas |= _definitions(ProblemAnswer, "Problem")
        schemas |= _definitions(DatasetSpec, "DatasetSpec")
        schemas |= _definitions(DatasetConfig, "DatasetConfig")
        schemas |= _definitions(MetricsQuery, "MetricsQuery")
        schemas |= _definitions(WebhookSpec, "WebhookSpec")
        schemas |= _definitions(QueueMove, "QueueMove")
        schemas |= _definitions(SweepSpec, "SweepSpec")
        schemas |= _definitions(SweepExtension, "SweepExtension")
        for answer, parts in _ANSWERS_WITH_PARTS.items():
            for field, models in parts.items():
                properties = schemas[answer]["properties"]
                properties[field] = _refer(models, properties[field].get("description"))
        document["components"]["schemas"] = dict(sorted(schemas.items()))
        app.openapi_schema = document
    return app.openapi_schema


def _refer(models: tuple[str, ...], description: str | None) -> dict[str, Any]:
    references = [{"$ref": _REF.format(model=model)} for model in models]
    schema: dict[str, Any] = references[0] if len(references) == 1 else {"anyOf": references}
    return schema | ({"description": description} if description else {})


def _definitions(model: type[Any], name: str) -> dict[str, Any]:
    schema = model.model_json_schema(ref_template=_REF)
    definitions: dict[str, Any] = schema.pop("$defs", {})
    return definitions | {name: schema}
