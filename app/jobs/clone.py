"""A new job from an old one."""

from __future__ import annotations

from typing import Any

from app.db import Job, Json


def specification(job: Job) -> Json:
    """What the client sent for a job, with what was changed of it since."""
    since = {"labels": job.labels, "priority": job.priority, "note": job.note}
    return {**job.spec, **{key: value for key, value in since.items() if value}}


def merged(given: Any, overrides: Any) -> Any:
    """What a client sent for a job, with some of it changed.

    Objects are merged key by key, to any depth; everything else, lists too, is replaced. An object
    of another `kind` takes the place of the old one: what was said of that is not true of it.
    """
    if not isinstance(given, dict) or not isinstance(overrides, dict):
        return overrides
    if "kind" in overrides and overrides["kind"] != given.get("kind", overrides["kind"]):
        return overrides
    return {**given, **{key: merged(given.get(key), value) for key, value in overrides.items()}}
