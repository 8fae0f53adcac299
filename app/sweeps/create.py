"""Accept a sweep."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.db import Sweep, Trial
from app.domain import InvalidSpecError, SweepState, new_id
from app.jobs import datasets
from app.jobs.check import open_dataset, with_unstorable
from gogooku3.config import CheckedSweep, Problem, SweepSpec, TrainConfig, check_sweep
from gogooku3.config.job import DatasetName
from gogooku3.data.header import DatasetHeader, check_data
from gogooku3.errors import DatasetNotFoundError

_NAME: TypeAdapter[str] = TypeAdapter(DatasetName)


def check_spec(given: Any, caches: Path) -> tuple[CheckedSweep, DatasetHeader]:
    """The sweep that `given` asks for and the header of its dataset, a file in `caches`.

    Every value that the search space holds is tried against the configuration and the dataset.
    Raises InvalidSpecError with every problem found.
    """
    header, fault = None, None
    try:
        name = _NAME.validate_python(given.get("dataset") if isinstance(given, dict) else None)
    except ValidationError:
        pass
    else:
        header, fault = open_dataset(name, caches)

    def fits(config: TrainConfig) -> list[Problem]:
        return check_data(header, config.data) if header is not None else []

    checked, problems = check_sweep(given, fits)
    problems = with_unstorable(problems, given)
    problems += [fault] if fault else []
    if checked is not None and header is not None:
        # The base itself: where every value of the space is refused for the same reason.
        problems += [
            Problem("/config" + p.pointer, p.code, p.message) for p in fits(checked.spec.config)
        ]
    if checked is None or header is None or problems:
        raise InvalidSpecError(problems)
    return checked, header


def create(
    session: Session,
    checked: CheckedSweep,
    *,
    given: dict[str, Any],
    header: DatasetHeader,
    api_key_id: str | None = None,
) -> Sweep:
    """Store a checked sweep as running; a worker makes its trials. Ring the doorbell after the
    commit.

    Raises DatasetInUseError when the dataset is about to be replaced, InvalidSpecError when it has
    just been deleted or a sweep to learn from cannot be learned from.
    """
    spec = checked.spec
    datasets.share(session, spec.dataset)
    building = datasets.live_builds(session, spec.dataset)
    datasets.refuse_use(spec.dataset, building, "wait for or cancel the job that replaces")
    if not header.path.is_file():
        message = f"dataset {spec.dataset!r} has just been deleted"
        raise InvalidSpecError([Problem("/dataset", DatasetNotFoundError.code, message)])
    check_sources(session, spec)
    sweep = Sweep(
        id=new_id("swp"),
        name=spec.name or f"sweep on {spec.dataset}",
        state=SweepState.RUNNING,
        dataset=spec.dataset,
        dataset_fingerprint=header.fingerprint,
        labels=spec.labels,
        priority=spec.priority,
        note=spec.note,
        spec=given,
        base=checked.space.base,
        config=spec.model_dump(mode="json"),
        optuna_version=version("optuna"),
        n_trials=spec.n_trials,
        max_parallel=spec.max_parallel,
        api_key_id=api_key_id,
    )
    session.add(sweep)
    session.flush()
    return sweep


def check_sources(session: Session, spec: SweepSpec) -> None:
    """Raise InvalidSpecError for sweeps that nothing can be learned from."""
    problems = []
    for place, sweep_id in enumerate(spec.warm_start_from):
        at = f"/warm_start_from/{place}"
        source = session.get(Sweep, sweep_id)
        if source is None:
            problems.append(Problem(at, "not-found", f"no sweep {sweep_id!r}"))
            continue
        if not source.state.is_finished:
            message = f"{sweep_id} is {source.state.value}: its trials are still to come"
            problems.append(Problem(at, "sweep-unfinished", message))
        goals = [goal.model_dump() for goal in SweepSpec.model_validate(source.config).goals]
        if goals != [goal.model_dump() for goal in spec.goals]:
            message = f"{sweep_id} has another objective: its values mean something else"
            problems.append(Problem(at, "objective-mismatch", message))
        complete = session.scalar(
            select(func.count()).where(Trial.sweep_id == sweep_id, Trial.outcome == "succeeded")
        )
        if not complete:
            problems.append(Problem(at, "no-complete-trial", f"{sweep_id} has no complete trial"))
    if problems:
        raise InvalidSpecError(problems)
