"""`cancel`, `pause`, `resume`, `retry`, `clone`, `update`: what can be done to a job."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli import sweep
from app.cli.connection import connect
from app.cli.console import answer, answer_json, note
from app.cli.failures import UsageError
from app.cli.options import ApiKey, AsJson, JobId, Url
from app.cli.spec import read_labels, read_spec, read_values

if TYPE_CHECKING:
    from gogooku3.client import Job


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    for command in (cancel, pause, resume, retry, clone, update):
        app.command()(command)


def cancel(
    job_id: JobId,
    force: Annotated[
        bool, typer.Option("--force", help="Kill it: no last checkpoint is written.")
    ] = False,
    url: Url = None,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Cancel a job or a sweep; a running one writes a checkpoint first."""
    with connect(url, api_key) as client:
        if job_id.startswith(sweep.PREFIX):
            sweep.tell(client.sweeps.cancel(job_id), "asked to stop", as_json=as_json)
            return
        job = client.jobs.cancel(job_id, force=force)
    _tell(job, "asked to stop", as_json=as_json)


def pause(job_id: JobId, url: Url = None, api_key: ApiKey = None, as_json: AsJson = False) -> None:
    """Put a job or a sweep aside; a running one writes its state and frees its slot."""
    with connect(url, api_key) as client:
        if job_id.startswith(sweep.PREFIX):
            sweep.tell(client.sweeps.pause(job_id), "asked to pause", as_json=as_json)
            return
        job = client.jobs.pause(job_id)
    _tell(job, "asked to pause", as_json=as_json)


def resume(job_id: JobId, url: Url = None, api_key: ApiKey = None, as_json: AsJson = False) -> None:
    """Let a paused job or sweep go on exactly where it stopped."""
    with connect(url, api_key) as client:
        if job_id.startswith(sweep.PREFIX):
            sweep.tell(client.sweeps.resume(job_id), "goes on", as_json=as_json)
            return
        job = client.jobs.resume(job_id)
    _tell(job, "goes on", as_json=as_json)


def retry(
    job_id: JobId,
    from_scratch: Annotated[
        bool, typer.Option("--from-scratch", help="Forget its metrics and checkpoints.")
    ] = False,
    url: Url = None,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Try a failed or cancelled job again, from its last state."""
    with connect(url, api_key) as client:
        job = client.jobs.retry(job_id, from_scratch=from_scratch)
    _tell(job, "tried again", as_json=as_json)


def clone(
    job_id: JobId,
    values: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="PATH=VALUE", help="Change a value; repeatable."),
    ] = None,
    overrides: Annotated[
        str | None,
        typer.Option(metavar="CHANGES.json", help="Changes as a file; - = standard input."),
    ] = None,
    name: Annotated[str | None, typer.Option(help="Instead of the job's name.")] = None,
    url: Url = None,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Submit a changed copy of a job.

    Example: gogooku3 clone JOB --set config.optimizer.lr=3e-4 --set config.seed=8
    """
    changes: dict[str, Any] = read_spec(overrides) if overrides is not None else {}
    changes = read_values(values or [], into=changes)
    if name is not None:
        changes["name"] = name
    with connect(url, api_key) as client:
        job = client.jobs.clone(job_id, changes)
        page = f"{client.url}/jobs/{job.id}"
    if as_json:
        answer_json(job.model_dump(mode="json"))
    else:
        answer(job.id)
        note(f"{job.state}; watch it with: gogooku3 watch {job.id}, or at {page}")


def update(
    job_id: JobId,
    label: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="Set a label; repeatable."),
    ] = None,
    unlabel: Annotated[
        list[str] | None, typer.Option(metavar="KEY", help="Remove a label; repeatable.")
    ] = None,
    priority: Annotated[int | None, typer.Option(help="Higher runs earlier.")] = None,
    text: Annotated[str | None, typer.Option("--note", help="Free text.")] = None,
    url: Url = None,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Change a job's labels, priority or note."""
    changes: dict[str, Any] = {}
    if label or unlabel:
        changes["labels"] = read_labels(label or []) | dict.fromkeys(unlabel or [])
    if priority is not None:
        changes["priority"] = priority
    if text is not None:
        changes["note"] = text
    if not changes:
        raise UsageError("say what to change: --label, --unlabel, --priority or --note")
    with connect(url, api_key) as client:
        job = client.jobs.update(job_id, changes)
    _tell(job, "changed", as_json=as_json)


def _tell(job: Job, what: str, *, as_json: bool) -> None:
    if as_json:
        answer_json(job.model_dump(mode="json"))
    else:
        answer(job.state if job.is_finished else f"{job.state}, {what}")
