"""What a sweep's trials say together: importances, selection bias, seed noise.

Worked out by a worker when trials have ended, and kept with the sweep: requests only read it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np
from sqlalchemy import Select, func, select, update
from sqlalchemy.orm import Session

from app.artifacts import Artifacts
from app.db import Database, Job, Json, Sweep, Trial
from app.domain import JobKind
from app.jobs import read
from app.sweeps.best import complete_trials, goals, ranked
from app.sweeps.searches import Searches
from app.sweeps.series import Array, Daily, best_series, of_metric, returns
from gogooku3.search import (
    deflated_sharpe_ratio,
    expected_maximum_sharpe,
    importances,
    probability_of_overfitting,
    seed_noise,
)
from gogooku3.search.overfitting import independent_trials

BLOCKS = 16


@dataclass(frozen=True)
class _Facts:
    """What the tables say of a sweep."""

    ended: int
    """Trials that the study has been told of."""
    tried: int
    """Those of them that had a say: complete or pruned."""
    runs_on_dataset: int
    trials: Sequence[Trial]
    """The complete ones."""
    best: Trial | None
    weights: Mapping[str, float]
    """Of the horizons, in the best trial's loss."""
    folders: Mapping[int, Sequence[str]]
    """By number of a complete trial: where its first run may have left its daily series."""


@dataclass
class Analyst:
    """Analyses sweeps whose trials have ended since the last time."""

    database: Database
    searches: Searches
    artifacts: Artifacts

    def analyse(self, sweep_id: str) -> None:
        """Bring a sweep's analysis up to date. Raises OutdatedSweepError."""
        with self.database.session() as session:
            sweep = session.get_one(Sweep, sweep_id)
            facts = _facts(session, sweep)
        # Minutes of reading and computing, with no transaction open: the server would end it.
        search = self.searches.of(sweep)
        shares = [importances(search, goal) for goal in range(len(search.spec.goals))]
        analysis: Json = {
            "trials": facts.ended,
            "selection": self._selection(sweep, facts),
            "importances": {
                goal.metric: found for goal, found in zip(search.spec.goals, shares, strict=True)
            },
        }
        with self.database.session() as session:
            session.execute(
                update(Sweep)
                .where(Sweep.id == sweep_id)
                .values(analysis=analysis, analysed_trials=facts.ended)
            )

    def _selection(self, sweep: Sweep, facts: _Facts) -> Json:
        noise = seed_noise([trial.seed_values or [] for trial in facts.trials])
        selection: Json = {
            "best_of": facts.tried,
            "runs_on_dataset": facts.runs_on_dataset,
            "seed_noise": asdict(noise) if noise else None,
            "deflated_sharpe": None,
            "overfitting": None,
        }
        best, weights = facts.best, facts.weights
        if best is None:
            return selection
        tables = {
            number: table
            for number, folders in facts.folders.items()
            if (table := best_series(self.artifacts, folders)) is not None
        }
        metric = goals(sweep)[0].metric
        horizon = metric.partition("@")[2] or min((h for h, w in weights.items() if w), key=int)
        earned = {n: found for n, t in tables.items() if (found := returns(t, horizon))}
        if best.number in earned:
            deflated = _deflated(earned, best.number, facts.tried, int(horizon))
            selection["deflated_sharpe"] = deflated
        daily = {n: found for n, t in tables.items() if (found := of_metric(t, metric, weights))}
        selection["overfitting"] = _overfitting(daily, metric)
        return selection


def _facts(session: Session, sweep: Sweep) -> _Facts:
    def count(statement: Select[int]) -> int:
        return session.scalar(statement) or 0

    trials = select(func.count()).where(Trial.sweep_id == sweep.id)
    runs = select(func.count()).where(Job.kind == JobKind.TRAIN, Job.best.is_not(None))
    # Counted first: a trial that ends meanwhile must not pass for one that is known.
    ended = count(trials.where(Trial.told_at.is_not(None)))
    complete = complete_trials(session, sweep.id)
    best = next(iter(ranked(sweep, complete)), None)
    folders = read.output_folders_of(session, [trial.job_id for trial in complete])
    return _Facts(
        ended=ended,
        tried=count(trials.where(Trial.outcome.in_(("succeeded", "pruned")))),
        runs_on_dataset=count(runs.where(Job.dataset_fingerprint == sweep.dataset_fingerprint)),
        trials=complete,
        best=best,
        weights={} if best is None else _weights(session, best.job_id),
        folders={trial.number: folders[trial.job_id] for trial in complete},
    )


def _weights(session: Session, job_id: str) -> Mapping[str, float]:
    weights: Mapping[str, float] = session.get_one(Job, job_id).config["loss"]["horizon_weights"]
    return weights


def _deflated(earned: Mapping[int, Daily], best: int, tried: int, horizon: int) -> Json | None:
    """The deflated Sharpe ratio of the best trial among all that were tried."""
    own_T = np.array([value for _, value in sorted(earned[best].items())])
    ratios = [_sharpe(np.array(list(daily.values()))) for daily in earned.values()]
    known = [ratio for ratio in ratios if ratio is not None]
    sharpe = _sharpe(own_T)
    if sharpe is None or len(known) < 2:
        return None
    spread = float(np.std(known, ddof=1))
    # Returns over h days that start every day overlap: they are worth 1/h of their number.
    periods = len(own_T) / horizon
    matrix_TN = _common(earned)
    worth = independent_trials(matrix_TN) * tried / len(earned) if len(matrix_TN) > 2 else tried
    return {
        "horizon": horizon,
        "days": len(own_T),
        "sharpe_per_period": sharpe,
        "trials": tried,
        "sharpe_std": spread,
        "expected_maximum": expected_maximum_sharpe(tried, spread),
        "probability": deflated_sharpe_ratio(
            own_T, trials=tried, sharpe_std=spread, periods=periods
        ),
        "independent_trials": worth,
        "probability_of_independent": deflated_sharpe_ratio(
            own_T, trials=worth, sharpe_std=spread, periods=periods
        ),
    }


def _overfitting(daily: Mapping[int, Daily], metric: str) -> Json | None:
    """The probability that the best trial on some days is not even an average one on others."""
    if len(daily) < 2:
        return None
    matrix_TN = _common(daily)
    name = metric.removeprefix("valid/").partition("@")[0]
    statistic: Literal["mean", "sharpe"] = "mean" if name in _MEANS else "sharpe"
    found = probability_of_overfitting(matrix_TN, blocks=BLOCKS, statistic=statistic)
    if found is None:
        return None
    return {
        "probability": found,
        "metric": metric,
        "statistic": statistic,
        "days": len(matrix_TN),
        "trials": len(daily),
        "blocks": BLOCKS,
    }


_MEANS = ("ic", "rank_ic", "long_short")
"""Metrics that are the mean of their daily series; the others are mean over deviation."""


def _common(daily: Mapping[int, Daily]) -> Array:
    """Days x trials, on the days that all of them have."""
    days = sorted(set.intersection(*(set(one) for one in daily.values())))
    return np.array([[one[day] for one in daily.values()] for day in days], dtype=np.float64)


def _sharpe(value_T: Array) -> float | None:
    if len(value_T) < 3 or np.ptp(value_T) == 0:
        return None
    return float(value_T.mean() / value_T.std(ddof=1))
