"""Decide whether a running trial may go on, at each epoch that it reports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session

from app.artifacts import Artifacts
from app.db import Database, Job, Sweep
from app.jobs import read
from app.jobs.submit import TrialRun
from app.sweeps.best import best_trial
from app.sweeps.searches import Searches
from app.sweeps.series import best_series, of_metric, series_in
from gogooku3.config.sweep import NonePruner, WilcoxonPruner
from gogooku3.events import EpochEvent
from gogooku3.search import Search, is_worse_over_days


@dataclass
class Judge:
    """Asks the pruner of a trial's sweep."""

    database: Database
    searches: Searches
    artifacts: Artifacts

    def should_prune(self, run: TrialRun, epochs: Sequence[EpochEvent], folder: str) -> bool:
        """Report the epochs of a trial's first run to its study, and ask its pruner.

        `folder` is where the run leaves its files, among the artifacts. Reporting the same epoch
        twice is fine.
        """
        if run.seed_index:
            return False  # a trial that came this far has earned all of its seeds
        with self.database.session() as session:
            sweep = session.get_one(Sweep, run.sweep_id)
        search = self.searches.of(sweep)
        pruner = search.spec.pruner
        if isinstance(pruner, NonePruner):
            return False
        metric = search.spec.goals[0].metric
        search.catch_up(run.number, {e.epoch: e.metrics.get(metric) for e in epochs})
        if not isinstance(pruner, WilcoxonPruner):
            return search.should_prune(run.number)
        if max(event.epoch for event in epochs) <= pruner.warmup_epochs:
            return False
        return self._is_worse(search, pruner, sweep, folder)

    def _is_worse(self, search: Search, pruner: WilcoxonPruner, sweep: Sweep, folder: str) -> bool:
        metric = search.spec.goals[0].metric
        table = series_in(self.artifacts, folder)
        if table is None:
            return False
        with self.database.session() as session:
            best = best_trial(session, sweep)
            if best is None:
                return False
            folders = read.output_folders(session, best.job_id)
            weights = _weights(session, best.job_id)
        best_table = best_series(self.artifacts, folders)
        if best_table is None:
            return False
        current = of_metric(table, metric, weights)
        earlier = of_metric(best_table, metric, weights)
        return bool(current and earlier and is_worse_over_days(pruner, earlier, current))


def _weights(session: Session, job_id: str) -> Mapping[str, float]:
    weights: Mapping[str, float] = session.get_one(Job, job_id).config["loss"]["horizon_weights"]
    return weights
