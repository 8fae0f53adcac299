"""`train`: one training run without a server."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from app.cli.console import answer, answer_json, note
from app.cli.failures import FAILED, CommandError, UsageError
from app.cli.options import AsJson
from app.cli.progress import run_view
from app.cli.report import print_best
from app.cli.spec import read_spec

if TYPE_CHECKING:
    from gogooku3.config import TrainConfig
    from gogooku3.data.header import DatasetHeader
    from gogooku3.events import EndEvent, FailureEvent


def add_to(app: typer.Typer) -> None:
    """Register the command."""
    app.command()(train)


def train(
    config: Annotated[
        str,
        typer.Argument(metavar="CONFIG.json", help="A training configuration, or a whole job."),
    ],
    dataset: Annotated[
        str | None, typer.Option(metavar="NAME|PATH", help="Instead of the job's dataset.")
    ] = None,
    out: Annotated[
        Path, typer.Option("-o", "--out", help="Folder of checkpoints and resume state.")
    ] = Path("run"),
    threads: Annotated[
        int | None, typer.Option(min=1, help="CPU threads.", show_default="all cores, at most 8")
    ] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda:N.")] = "cpu",
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the resume state in the folder.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Train without a server; Ctrl-C writes a resume state first.

    Example: gogooku3 train examples/job_baseline.json --dataset demo -o out
    """
    # The trainer's process loads torch; this one only the configuration, which takes a while too.
    from app.cli.trainer import Trainer
    from gogooku3.events import RunRequest

    spec = read_spec(config)
    wanted = _checked(spec)
    header = _dataset(dataset or spec.get("dataset"), wanted)
    state = out / "resume.pt"
    if resume and not state.exists():
        raise UsageError(f"there is no resume state in {out}")
    if not resume and state.exists():
        raise UsageError(f"{out} holds a run already: --resume goes on with it, -o names another")
    out.mkdir(parents=True, exist_ok=True)
    request = RunRequest(
        config=wanted,
        dataset=header.path.absolute(),
        out_dir=out.absolute(),
        resume=state.absolute() if resume else None,
        cpu_threads=threads or min(os.cpu_count() or 1, 8),
        device=device,
    )
    trainer = Trainer(request, out / "log.txt")
    with trainer.relaying_signals():
        end = _follow(trainer, name=f"{header.name}:", as_json=as_json)
        code = trainer.wait()
    if as_json:
        raise typer.Exit(0 if code == 0 else FAILED)
    _conclude(end, code, config, out)


def _checked(spec: dict[str, Any]) -> TrainConfig:
    """The training configuration in a file that holds just that, or a whole job."""
    from gogooku3.config import JobSpec, TrainConfig, check

    if "config" in spec:
        job, problems = check(JobSpec, {"dataset": "any", **spec})
        config = job.config if job else None
    else:
        config, problems = check(TrainConfig, spec)
    if config is None:
        lines = [f"  {problem.pointer or '/'}: {problem.message}" for problem in problems]
        raise UsageError("\n".join(["the configuration is not valid", *lines]))
    return config


def _dataset(name: str | None, config: TrainConfig) -> DatasetHeader:
    """The named dataset, checked against the configuration."""
    from app.cli.datasets import find_dataset
    from gogooku3.data.header import check_data

    if name is None:
        raise UsageError("which dataset? give --dataset NAME")
    header = find_dataset(name)
    problems = check_data(header, config.data)
    if problems:
        lines = [f"  {problem.pointer}: {problem.message}" for problem in problems]
        raise UsageError("\n".join([f"the configuration does not fit {header.name}", *lines]))
    return header


def _follow(trainer: Any, *, name: str, as_json: bool) -> EndEvent | FailureEvent | None:
    """Show every event; returns the one that says how it ended."""
    from gogooku3.events import EndEvent, FailureEvent

    end: EndEvent | FailureEvent | None = None
    if as_json:
        for event in trainer.events():
            answer_json(event.model_dump(mode="json"))
        return end
    with run_view(name) as view:
        for event in trainer.events():
            if isinstance(event, EndEvent | FailureEvent):
                end = event
            else:
                view.show(event.type, event.model_dump(mode="json", exclude={"type"}))
    return end


def _conclude(end: EndEvent | FailureEvent | None, code: int, config: str, out: Path) -> None:
    from gogooku3.events import EndEvent

    if end is None:
        raise CommandError(f"the trainer ended with exit code {code}; see {out / 'log.txt'}")
    if not isinstance(end, EndEvent):
        advice = f"; {end.next_action}" if end.next_action else ""
        raise CommandError(f"{end.message}{advice} (see {out / 'log.txt'})")
    if end.best_epoch is not None:
        print_best({"epoch": end.best_epoch, "metrics": end.best_metrics})
        answer(str(out / f"epoch-{end.best_epoch:04d}.gk3"))
    if end.outcome == "interrupted":
        note(f"interrupted; go on with: gogooku3 train {config} -o {out} --resume")
        raise typer.Exit(FAILED)
