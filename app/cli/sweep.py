"""`sweep`, `sweeps`: search a configuration, and what came of it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli.connection import connect
from app.cli.console import answer, answer_json, note
from app.cli.failures import FAILED
from app.cli.options import ApiKey, AsJson, Url
from app.cli.spec import read_labels, read_spec
from app.cli.sweep_view import print_preview, short_params, summary, sweep_view
from app.cli.table import cell, print_fields, print_table, size

if TYPE_CHECKING:
    from gogooku3.client import BestTrial, Client, Sweep

PREFIX = "swp_"
LOOK_EVERY_S = 1.0
ANALYSED_WITHIN_S = 30.0
"""The last analysis of a sweep is begun when it ends; a busy worker may take some seconds."""


def add_to(app: typer.Typer) -> None:
    """Register the commands."""
    for command in (sweep, sweeps):
        app.command()(command)


def sweep(
    spec: Annotated[str, typer.Argument(metavar="SPEC.json", help="The sweep; - = stdin.")],
    name: Annotated[str | None, typer.Option(help="Instead of the spec's name.")] = None,
    dataset: Annotated[str | None, typer.Option(help="Instead of the spec's dataset.")] = None,
    trials: Annotated[int | None, typer.Option(min=1, help="Instead of n_trials.")] = None,
    label: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="Add a label; repeatable.")
    ] = None,
    preview: Annotated[
        bool, typer.Option("--preview", help="Only show how much it would run.")
    ] = False,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Stay and watch the trials.")
    ] = False,
    idempotency_key: Annotated[
        str | None, typer.Option(help="Creating again under this key is the same sweep.")
    ] = None,
    url: Url = None,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """Search a configuration: many trials, each a training job.

    Example: gogooku3 sweep examples/sweep_cpu.json --watch
    """
    given = read_spec(spec)
    changes = {"name": name, "dataset": dataset, "n_trials": trials}
    given |= {key: value for key, value in changes.items() if value is not None}
    if label:
        given["labels"] = {**given.get("labels", {}), **read_labels(label)}
    with connect(url, api_key, is_following=watch) as client:
        if preview:
            found = client.sweeps.preview(given)
            if as_json:
                answer_json(found)
            else:
                print_preview(found)
            return
        made = client.sweeps.create(given, idempotency_key=idempotency_key)
        page = f"{client.url}/sweeps/{made.id}"
        for told in made.warnings:
            note(f"note: {told}")
        if watch:
            note(f"created {made.id} at {page}")
            raise typer.Exit(watch_sweep(client, made.id, as_json=as_json))
    if as_json:
        answer_json(made.model_dump(mode="json"))
    else:
        answer(made.id)
        note(f"{made.n_trials} trials; watch them with: gogooku3 watch {made.id}, or at {page}")


def sweeps(
    sweep_id: Annotated[
        str | None, typer.Argument(metavar="[SWEEP]", help="Show this one and its trials.")
    ] = None,
    state: Annotated[
        list[str] | None,
        typer.Option(
            metavar="running|paused|succeeded|failed|cancelled",
            help="Only these states; repeatable.",
        ),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many, newest first.")] = 20,
    url: Url = None,
    api_key: ApiKey = None,
    as_json: AsJson = False,
) -> None:
    """List sweeps, or show one with its trials.

    Example: gogooku3 sweeps --state running
    """
    from itertools import islice

    with connect(url, api_key) as client:
        if sweep_id is not None:
            _show(client, sweep_id, as_json=as_json)
            return
        found = list(islice(client.sweeps.list(state=state or None, page_size=limit), limit))
    if as_json:
        answer_json({"items": [one.model_dump(mode="json") for one in found]})
    elif found:
        rows: list[list[Any]] = [
            [
                one.id,
                one.name,
                one.state,
                f"{one.n_trials - one.counts.get('waiting', 0)}/{one.n_trials}",
                one.best and one.best.value,
                one.dataset,
                one.created_at,
            ]
            for one in found
        ]
        print_table(["id", "name", "state", "trials", "best", "dataset", "created"], rows)
    else:
        note("no sweeps; create one with: gogooku3 sweep SPEC.json")


def watch_sweep(client: Client, sweep_id: str, *, as_json: bool) -> int:
    """Show a sweep until it has ended, then its best trial; returns the exit code."""
    try:
        with sweep_view(as_json=as_json) as view:
            while True:
                found = client.sweeps.get(sweep_id)
                view.show(found, list(client.sweeps.trials(sweep_id)))
                if found.is_finished:
                    break
                time.sleep(LOOK_EVERY_S)
    except KeyboardInterrupt:
        note(f"the sweep goes on; watch it again with: gogooku3 watch {sweep_id}")
        raise
    if as_json:
        answer_json(found.model_dump(mode="json"))
    else:
        _print_end(client, found)
    return 0 if found.state == "succeeded" else FAILED


def fetch_best(client: Client, sweep_id: str, out: Path, *, as_json: bool) -> None:
    """Fetch the best checkpoint of the best trial."""
    best = client.sweeps.best(sweep_id)
    path = client.sweeps.best_checkpoint(sweep_id, out)
    if as_json:
        answer_json({"path": str(path), **best.model_dump(mode="json")})
        return
    answer(str(path))
    note(
        f"trial {best.number}, epoch {best.epoch}, value {cell(best.value)}, "
        f"{size(path.stat().st_size)}: verified"
    )


def tell(found: Sweep, what: str, *, as_json: bool) -> None:
    """Answer what became of a sweep that was steered."""
    if as_json:
        answer_json(found.model_dump(mode="json"))
    else:
        answer(found.state if found.is_finished else f"{found.state}, {what}")


def _show(client: Client, sweep_id: str, *, as_json: bool) -> None:
    found = client.sweeps.get(sweep_id)
    trials = list(client.sweeps.trials(sweep_id))
    if as_json:
        items = [trial.model_dump(mode="json") for trial in trials]
        answer_json({**found.model_dump(mode="json"), "trials": items})
        return
    print_fields({"id": found.id, "name": found.name, "is": summary(found)})
    rows = [
        [t.number, t.state, t.value, t.epochs, short_params(t.params), t.job_id] for t in trials
    ]
    print_table(["trial", "state", "value", "epochs", "values", "job"], rows)


def _print_end(client: Client, found: Sweep) -> None:
    note(summary(found))
    if found.reason:
        note(str(found.reason.get("message")))
    if found.best is None:
        return
    best = _analysed(client, found)
    goal = found.objectives[0]["metric"]
    fields: dict[str, Any] = {"best trial": best.number, goal: best.value, **best.params}
    fields |= _luck(best)
    print_fields(fields)
    note(f"fetch its checkpoint with: gogooku3 fetch {found.id} --best -o .")


def _analysed(client: Client, found: Sweep) -> BestTrial:
    """The best trial; a worker is given the time to say of all trials how much of it is luck."""
    ended = sum(found.counts.get(state, 0) for state in ("succeeded", "pruned", "failed"))
    ended += found.counts.get("cancelled", 0)
    deadline = time.monotonic() + ANALYSED_WITHIN_S
    while True:
        best = client.sweeps.best(found.id)
        if (best.selection or {}).get("trials") == ended:
            return best
        if time.monotonic() > deadline:
            # What was worked out for some of them would be told of all.
            return best.model_copy(update={"selection": None})
        time.sleep(LOOK_EVERY_S)


def _luck(best: BestTrial) -> dict[str, Any]:
    """How much of the best value may be luck, as far as it is known by now."""
    selection = best.selection or {}
    known: dict[str, Any] = {}
    if selection.get("best_of"):
        known["best of"] = selection["best_of"]
    if selection.get("deflated_sharpe"):
        known["deflated Sharpe ratio"] = selection["deflated_sharpe"]["probability"]
    if selection.get("overfitting"):
        known["probability of overfitting"] = selection["overfitting"]["probability"]
    return known
