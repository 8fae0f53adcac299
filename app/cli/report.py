"""What is told of a job: a row in a list, its fields in full, the metrics of its best epoch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gogooku3.client import Job

HEADLINES = ("rank_ic", "ic", "rank_icir", "sharpe")


def job_row(job: Job) -> list[Any]:
    """One line of a list of jobs."""
    best = (job.best or {}).get("metrics") or {}
    return [
        job.id,
        job.name,
        job.state,
        _epoch(job),
        best.get("valid/rank_ic"),
        job.dataset,
        job.created_at,
    ]


def job_fields(job: Job) -> dict[str, Any]:
    """A job in full, as name and value."""
    fields: dict[str, Any] = {
        "id": job.id,
        "name": job.name,
        "state": job.state,
        "dataset": job.dataset,
        "attempt": job.attempt,
        "epoch": _epoch(job),
        "labels": ", ".join(f"{key}={value}" for key, value in job.labels.items()) or None,
        "note": job.note,
        "created": job.created_at,
        "started": job.started_at,
        "finished": job.finished_at,
    }
    for key, value in (job.reason or {}).items():
        fields[f"reason {key}"] = value
    return fields | metric_fields(job.best or {})


def metric_fields(best: Mapping[str, Any]) -> dict[str, Any]:
    """The best epoch and its headline validation metrics, for the weighted mean and each
    horizon."""
    metrics = best.get("metrics") or {}
    shown = {
        name: value
        for headline in HEADLINES
        for name, value in metrics.items()
        if name == f"valid/{headline}" or name.startswith(f"valid/{headline}@")
    }
    return {"best epoch": best["epoch"], **shown} if best.get("epoch") else shown


def _epoch(job: Job) -> str | None:
    progress = job.progress or {}
    if not progress.get("epoch"):
        return None
    return f"{progress['epoch']}/{progress.get('max_epochs', '?')}"
