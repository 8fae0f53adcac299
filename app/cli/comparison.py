"""Jobs side by side: the metrics of their best epochs, and what differs between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli.connection import connect
from app.cli.console import answer_json, note
from app.cli.failures import UsageError
from app.cli.options import ApiKey, AsJson, Url
from app.cli.report import MEASURES
from app.cli.table import print_table

if TYPE_CHECKING:
    from gogooku3.client import Job

SPLIT = "data.split"
"""Jobs that differ in this speak of other days."""


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command()(compare)


def compare(
    job_ids: Annotated[list[str], typer.Argument(metavar="JOB JOB...", help="Two jobs or more.")],
    url: Url = None,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Compare jobs: their best epochs side by side, and what differs.

    Example: gogooku3 compare job_01k8z3v8m4e9c2r7t5w6x0y1za job_01k8z3v8m4e9c2r7t5w6x0y1zb
    """
    if len(set(job_ids)) < 2:
        raise UsageError("name two different jobs at least")
    with connect(url, api_key) as client:
        jobs = [client.jobs.get(job_id) for job_id in dict.fromkeys(job_ids)]
    differing = differences(jobs)
    unfair = doubts(jobs, differing)
    if as_json:
        answer_json(
            {
                "jobs": [
                    {"id": job.id, "name": job.name, "dataset": job.dataset, "best": job.best}
                    for job in jobs
                ],
                "differs_in": [{"path": path, "values": row} for path, row in differing.items()],
                "doubts": unfair,
            }
        )
        return
    names = [job.name or job.id for job in jobs]
    if len(set(names)) < len(names):
        names = [job.id for job in jobs]
    best = [(job.best or {}).get("metrics") or {} for job in jobs]
    rows = [
        [words, *(metrics.get(f"valid/{name}") for metrics in best)]
        for name, words in MEASURES.items()
        if any(metrics.get(f"valid/{name}") is not None for metrics in best)
    ]
    print_table(["best epoch", *names], [["epoch", *map(_epoch, jobs)], *rows])
    print_table(["differs in", *names], [[path, *row] for path, row in differing.items()])
    if not differing:
        note("the configurations are the same: what differs is chance")
    for doubt in unfair:
        note(f"not a fair comparison: {doubt}")


def differences(jobs: Sequence[Job]) -> dict[str, list[Any]]:
    """By path of the configuration: the values of the jobs, where they are not all the same."""
    flat = [{"dataset": job.dataset, **_flat(job.config or {})} for job in jobs]
    paths = sorted({path for one in flat for path in one})
    rows = {path: [one.get(path) for one in flat] for path in paths}
    return {path: row for path, row in rows.items() if any(value != row[0] for value in row)}


def doubts(jobs: Sequence[Job], differing: Mapping[str, Any]) -> list[str]:
    """Why their figures must not be read against each other."""
    found = []
    if len({job.dataset_fingerprint for job in jobs}) > 1:
        found.append("they were evaluated on different datasets")
    if any(path.startswith(SPLIT) for path in differing):
        found.append("they were evaluated on different splits")
    return found


def _flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, below in value.items():
        path = f"{prefix}{key}"
        if isinstance(below, Mapping) and below:
            found |= _flat(below, f"{path}.")
        else:
            found[path] = below
    return found


def _epoch(job: Job) -> int | None:
    epoch = (job.best or {}).get("epoch")
    return int(epoch) if epoch is not None else None
