"""The studies of a process: one storage, one search a sweep, made when they are first needed."""

from __future__ import annotations

import threading
from collections import OrderedDict

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from app.db import Database, Job, Sweep, Trial
from app.sweeps.definition import definition
from gogooku3.config import Params, SearchSpace, SweepSpec
from gogooku3.config.paths import value_at
from gogooku3.search import (
    Search,
    Storage,
    Suggestion,
    WarmTrial,
    close_storage,
    open_storage,
)
from gogooku3.search.ask import ask_in_child
from gogooku3.search.samplers import needs_torch

_TABLES_LOCK = 6_046_600_318
"""Advisory lock: processes that start together make Optuna's tables one after the other."""
MOST_KEPT = 32
MOST_WARM = 500
"""Trials that a study is warmed with at most, the newest: each takes some milliseconds."""


class Searches:
    """Searches by sweep; used from any thread. Loading this module loads Optuna."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._storage: Storage | None = None
        self._kept: OrderedDict[str, Search] = OrderedDict()

    def of(self, sweep: Sweep) -> Search:
        """The search of a sweep. Raises OutdatedSweepError."""
        with self._lock:
            search = self._kept.pop(sweep.id, None)
            if search is None:
                found = definition(sweep)
                search = Search(self._open(), sweep.id, found.spec, found.space)
            self._kept[sweep.id] = search
            while len(self._kept) > MOST_KEPT:
                self._kept.popitem(last=False)
            return search

    def forget(self, sweep_id: str) -> None:
        """Let the memory of an ended sweep go."""
        with self._lock:
            self._kept.pop(sweep_id, None)

    def suggest(self, search: Search, index: int) -> Suggestion:
        """The next suggestion, by a child process where the sampler imports torch.

        Raises AskError, ValueError.
        """
        if needs_torch(search.spec, index):
            return ask_in_child(self._url, search, index)
        return search.suggest(index)

    def close(self) -> None:
        """Close the storage's connections."""
        with self._lock:
            if self._storage is not None:
                close_storage(self._storage)

    @property
    def _url(self) -> str:
        return self._database.engine.url.render_as_string(hide_password=False)

    def _open(self) -> Storage:
        if self._storage is None:
            with self._database.session() as session:
                session.execute(text(f"SELECT pg_advisory_xact_lock({_TABLES_LOCK})"))
                self._storage = open_storage(self._url)
        return self._storage


def warm_trials(session: Session, spec: SweepSpec, space: SearchSpace) -> list[WarmTrial]:
    """The complete trials of earlier sweeps that fit into the space, in a fixed order.

    A value that the earlier sweep did not choose is taken from its trial's configuration.
    """
    rows = session.execute(
        select(Trial, Job.config)
        .join(Job, Job.id == Trial.job_id)
        .where(Trial.sweep_id.in_(spec.warm_start_from), Trial.outcome == "succeeded")
        .order_by(Trial.sweep_id.desc(), Trial.number.desc())
        .limit(MOST_WARM)
    ).all()
    found = []
    for trial, config in reversed(rows):
        params: Params = {}
        for parameter in space.parameters:
            if not space.is_active(parameter, params):
                continue
            value = trial.params.get(parameter.path, value_at(config, parameter.path))
            if not parameter.distribution.contains(value):
                break
            params[parameter.path] = value
        else:
            source = f"{trial.sweep_id} {trial.number}"
            found.append(WarmTrial(source, params, tuple(trial.values or ())))
    return found
