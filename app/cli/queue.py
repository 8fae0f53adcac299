"""`queue`, `move`, `workers`: what waits, in which order, and for whom."""

from __future__ import annotations

from typing import Annotated

import typer

from app.cli.connection import connect
from app.cli.console import answer, answer_json, note
from app.cli.failures import UsageError
from app.cli.options import ApiKey, AsJson, JobId, Url
from app.cli.table import duration, print_table


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    for command in (queue, move, workers):
        app.command()(command)


def queue(
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many.")] = 50,
    url: Url = None,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Show what waits, why, and when it is likely to begin."""
    with connect(url, api_key) as client:
        found = client.queue(limit=limit)
    if as_json:
        answer_json(found.model_dump(mode="json"))
        return
    if found.items:
        rows = [
            [
                item.position,
                item.job_id,
                item.name,
                item.priority,
                None if item.starts_in_s is None else duration(item.starts_in_s),
                item.reason["message"],
            ]
            for item in found.items
        ]
        print_table(["", "id", "name", "priority", "starts in", "why it waits"], rows)
    note(f"{found.queued} queued, {found.running} running, {found.paused} paused")


def move(
    job_id: JobId,
    front: Annotated[bool, typer.Option("--front", help="Before all others.")] = False,
    before: Annotated[
        str | None, typer.Option(metavar="JOB", help="Right before this job.")
    ] = None,
    after: Annotated[str | None, typer.Option(metavar="JOB", help="Right after this job.")] = None,
    url: Url = None,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Move a job in the queue; it takes on the priority of its new neighbour."""
    if front + (before is not None) + (after is not None) != 1:
        raise UsageError("give one of --front, --before JOB and --after JOB")
    with connect(url, api_key) as client:
        job = client.move(job_id, before=before, after=after)
    if as_json:
        answer_json(job.model_dump(mode="json"))
    else:
        answer(f"{job.state}, priority {job.priority}")


def workers(url: Url = None, api_key: ApiKey = None, as_json: AsJson = False) -> None:
    """List the workers that are alive, slot by slot."""
    with connect(url, api_key) as client:
        found = [worker for worker in client.workers() if worker.is_alive]
    if as_json:
        answer_json({"items": [worker.model_dump(mode="json") for worker in found]})
        return
    if not found:
        note("no worker is alive; start one with: gogooku3 worker")
        return
    rows = [
        [worker.id, worker.host, slot["number"], slot["gpu"] or "cpu", slot["job_id"]]
        for worker in found
        for slot in worker.slot_list
    ]
    print_table(["worker", "host", "slot", "device", "runs"], rows)
