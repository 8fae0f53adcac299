"""`submit`, `jobs`, `watch`, `logs`, `fetch`: a client of the job server."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.cli import sweep
from app.cli.connection import connect
from app.cli.console import answer, answer_json, note
from app.cli.failures import FAILED, CommandError, UsageError
from app.cli.options import ApiKey, AsJson, JobId, Url
from app.cli.progress import run_view
from app.cli.report import job_fields, job_row, print_best
from app.cli.spec import read_labels, read_spec
from app.cli.table import print_fields, print_table, size

if TYPE_CHECKING:
    from gogooku3.client import Client, Job


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    for command in (submit, jobs, watch, logs, fetch):
        app.command()(command)


def submit(
    spec: Annotated[str, typer.Argument(metavar="SPEC.json", help="The job; - = standard input.")],
    name: Annotated[str | None, typer.Option(help="Instead of the spec's name.")] = None,
    dataset: Annotated[str | None, typer.Option(help="Instead of the spec's dataset.")] = None,
    label: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="Add a label; repeatable.")
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Only show the effective configuration.")
    ] = False,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Stay and watch it train.")] = False,
    idempotency_key: Annotated[
        str | None, typer.Option(help="Submitting again under this key is the same job.")
    ] = None,
    url: Url = None,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Submit a training job, or a dataset to be built (a spec with a `source`).

    Example: gogooku3 submit examples/job_baseline.json --watch
    """
    given = read_spec(spec)
    if name is not None:
        given["name"] = name
    if dataset is not None:
        given["dataset"] = dataset
    if label:
        given["labels"] = {**given.get("labels", {}), **read_labels(label)}
    with connect(url, api_key, is_following=watch) as client:
        target = client.datasets if "source" in given else client.jobs
        if check:
            answer_json(target.check(given))
            return
        job = target.create(given, idempotency_key=idempotency_key)
        page = f"{client.url}/jobs/{job.id}"
        if watch:
            note(f"submitted {job.id} at {page}")
            raise typer.Exit(_watch(client, job, as_json=as_json))
    if as_json:
        answer_json(job.model_dump(mode="json"))
    else:
        answer(job.id)
        note(f"{job.state}; watch it with: gogooku3 watch {job.id}, or at {page}")


def jobs(
    job_id: Annotated[
        str | None, typer.Argument(metavar="[JOB]", help="Show this one in full.")
    ] = None,
    state: Annotated[
        list[str] | None,
        typer.Option(
            metavar="queued|running|paused|succeeded|failed|cancelled|pruned",
            help="Only these states; repeatable.",
        ),
    ] = None,
    label: Annotated[
        list[str] | None, typer.Option(metavar="KEY:VALUE", help="Only with this label.")
    ] = None,
    dataset: Annotated[str | None, typer.Option(help="Only on this dataset.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many, newest first.")] = 20,
    url: Url = None,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """List jobs, or show one.

    Example: gogooku3 jobs --state running
    """
    from itertools import islice

    with connect(url, api_key) as client:
        if job_id is not None:
            job = client.jobs.get(job_id)
            if as_json:
                answer_json(job.model_dump(mode="json"))
            else:
                print_fields(job_fields(job))
                print_best(job.best or {})
            return
        found = client.jobs.list(
            state=state or None,
            label=label or None,
            dataset_id=dataset,
            page_size=min(limit, 1000),
        )
        rows = list(islice(found, limit))
    if as_json:
        answer_json({"items": [job.model_dump(mode="json") for job in rows]})
    elif rows:
        columns = ["id", "name", "state", "epoch", "best rank IC", "dataset", "created"]
        print_table(columns, [job_row(job) for job in rows])
    else:
        note("no jobs; submit one with: gogooku3 submit SPEC.json")


def watch(job_id: JobId, url: Url = None, api_key: ApiKey = None, as_json: AsJson = False) -> None:
    """Watch a job or a sweep until it is finished; the exit code says whether it succeeded.

    Ctrl-C leaves it alone. With --json, one event (of a sweep: one ended trial) a line.
    """
    with connect(url, api_key, is_following=True) as client:
        if job_id.startswith(sweep.PREFIX):
            raise typer.Exit(sweep.watch_sweep(client, job_id, as_json=as_json))
        raise typer.Exit(_watch(client, client.jobs.get(job_id), as_json=as_json))


def logs(
    job_id: JobId,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until it ends.")] = False,
    tail: Annotated[int | None, typer.Option(min=1, help="Only the last lines.")] = None,
    url: Url = None,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Print what the job's trainer printed.

    Example: gogooku3 logs JOB --tail 50 -f
    """
    with connect(url, api_key, is_following=follow) as client:
        if follow:
            for text in client.jobs.follow_logs(job_id, tail=tail):
                _write({"text": text} if as_json else text)
            return
        chunk = client.jobs.logs(job_id, after=None if tail else 0, tail=tail)
        while True:
            _write(chunk.model_dump() if as_json else chunk.text)
            if chunk.end >= chunk.size or not chunk.text:
                return
            chunk = client.jobs.logs(job_id, after=chunk.end)


def fetch(
    job_id: JobId,
    best: Annotated[bool, typer.Option("--best", help="The best epoch (the default).")] = False,
    last: Annotated[bool, typer.Option("--last", help="The newest epoch instead.")] = False,
    out: Annotated[
        Path, typer.Option("-o", "--out", help="Folder (made if missing) or file to write.")
    ] = Path(),
    url: Url = None,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Fetch a checkpoint and verify it; a broken download is taken up where it ended.

    Of a sweep: the best checkpoint of its best trial.

    Example: gogooku3 fetch JOB --best -o checkpoints
    """
    if best and last:
        raise UsageError("--best or --last, not both")
    (out.parent if out.suffix == ".gk3" else out).mkdir(parents=True, exist_ok=True)
    with connect(url, api_key, is_following=True) as client:
        if job_id.startswith(sweep.PREFIX):
            if last:
                raise UsageError("--last is of a job; of a sweep there is the best")
            sweep.fetch_best(client, job_id, out, as_json=as_json)
            return
        newest_first = client.jobs.checkpoints(job_id)
        wanted = [one for one in newest_first if last or one.is_best]
        if not wanted:
            raise CommandError(f"{job_id} has written no checkpoint yet")
        fetched = wanted[0]
        path = client.checkpoints.download(fetched.id, out)
    if as_json:
        answer_json({"path": str(path), **fetched.model_dump(mode="json")})
        return
    answer(str(path))
    note(f"epoch {fetched.epoch}, {size(fetched.size)}, sha256 {fetched.sha256}: verified")


def _watch(client: Client, job: Job, *, as_json: bool) -> int:
    """Show the job's events until it is finished; returns the exit code."""
    if as_json:
        for event in client.jobs.stream(job.id):
            answer_json(event.model_dump(mode="json"))
        return 0 if client.jobs.get(job.id).state == "succeeded" else FAILED
    try:
        with run_view(job.name or job.id) as view:
            for event in client.jobs.stream(job.id):
                view.show(event.type, event.payload, attempt=event.attempt)
    except KeyboardInterrupt:
        note(f"the job goes on; watch it again with: gogooku3 watch {job.id}")
        raise
    finished = client.jobs.get(job.id)
    if finished.best:
        print_best(finished.best)
    if finished.state == "succeeded" and finished.kind == "dataset":
        note(f"succeeded; jobs may name the dataset {finished.dataset!r}")
        return 0
    if finished.state == "succeeded":
        note(f"succeeded; fetch its checkpoint with: gogooku3 fetch {job.id} --best -o .")
        return 0
    reason = finished.reason or {}
    note(f"{finished.state}: {reason.get('message', 'no reason was given')}")
    if reason.get("next_action"):
        note(str(reason["next_action"]))
    note(f"its log: gogooku3 logs {job.id}")
    return FAILED


def _write(value: object) -> None:
    if isinstance(value, str):
        sys.stdout.write(value)
        sys.stdout.flush()
    else:
        answer_json(value)
