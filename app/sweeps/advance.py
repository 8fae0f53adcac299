"""Move a sweep on: tell its study how trials ended, make new ones, bring it to its end.

Every step is one transaction that begins with the sweep's lock, so it does not matter who calls,
how often, or where the caller is killed. What the study knows and the tables do not is found again:
a trial that was suggested and not stored is suggested again with the same values.
"""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import and_, func, select
from sqlalchemy.orm import Session

from app.artifacts import Artifacts
from app.db import Database, Job, Json, MetricPoint, Sweep, Trial
from app.domain import DatasetInUseError, InvalidSpecError, SweepState, TooManyJobsError
from app.jobs.cancel import cancel
from app.jobs.submit import TrialRun, submit
from app.sweeps.definition import OutdatedSweepError
from app.sweeps.lock import hold, lock_sweep
from app.sweeps.result import Result, result_of
from app.sweeps.retention import retain
from app.sweeps.runs import live_runs
from app.sweeps.searches import Searches, warm_trials
from gogooku3.config import JobSpec, Params, Problem, check
from gogooku3.data.header import SUFFIX, read_header
from gogooku3.errors import DatasetError
from gogooku3.search import Search, Verdict
from gogooku3.search.ask import AskError

MOST_STEPS = 1000
PATIENCE = 3
"""Times that a sampler may fail before its sweep does."""
logger = logging.getLogger(__name__)

_VERDICTS = {"succeeded": Verdict.COMPLETE, "pruned": Verdict.PRUNED}


@dataclass
class Advancer:
    """Moves sweeps on, in any process that can reach the database and the datasets."""

    database: Database
    searches: Searches
    caches: Path
    artifacts: Artifacts
    _failures: Counter[str] = field(default_factory=Counter)

    def advance(self, sweep_id: str, *, is_waiting: bool = True) -> int:
        """Do all that can be done for a sweep now; returns how many runs were queued.

        With `is_waiting` it waits for whoever is at it already, and then looks again; else it
        leaves the sweep to them. Ring the doorbell for the runs.
        """
        queued = 0
        for _ in range(MOST_STEPS):
            with self.database.session() as session:
                if not hold(session, sweep_id, is_waiting=is_waiting):
                    break
                step = _Step(session, session.get_one(Sweep, sweep_id), self)
                made = step.take()
                if made is None:
                    break
                queued += made
        return queued

    def bears(self, sweep_id: str) -> bool:
        """Whether one more failure of the sweep's sampler is put up with."""
        self._failures[sweep_id] += 1
        return self._failures[sweep_id] <= PATIENCE

    def worked(self, sweep_id: str) -> None:
        """The sampler did not fail."""
        self._failures.pop(sweep_id, None)


@dataclass
class _Step:
    """One transaction's worth, under the sweep's lock."""

    session: Session
    sweep: Sweep
    advancer: Advancer

    def take(self) -> int | None:
        """Do the next thing; answers the number of queued runs, None when nothing is left."""
        sweep = self.sweep
        if sweep.state.is_finished:
            return None
        try:
            search = self.advancer.searches.of(sweep)
        except OutdatedSweepError as error:
            # Without its study nobody can be told how the trials end.
            self._stop(error.code, str(error), "Create the sweep again.")
            self._end()
            return None
        if not sweep.is_prepared:
            search.prepare(warm_trials(self.session, search.spec, search.space))
            self._row().is_prepared = True
            return 0
        runs = self._untold_runs()
        for number in sorted(runs):
            result = result_of(search.spec, runs[number])
            if result is None and self._is_cut_short(runs[number]):
                result = Result("cancelled", reason=_CUT_SHORT)
            if result is not None:
                self._tell(search, number, runs[number][0].id, result)
                return 0
        is_whole = sweep.created_trials >= sweep.n_trials
        if sweep.state is SweepState.PAUSED and (runs or not is_whole):
            return None
        if sweep.cancel_requested_at is None and self._is_over_budget(search):
            return 0
        if sweep.cancel_requested_at is not None or is_whole:
            if not runs:
                # A paused one too: nothing is left that could go on.
                self._end()
            if not runs or sweep.cancel_requested_at is not None:
                return None
        return self._make(search, runs)

    def _row(self) -> Sweep:
        """The sweep as it is now, locked: what was read before the sampler thought may be old."""
        return lock_sweep(self.session, self.sweep.id)

    def _goes_on(self) -> bool:
        """Whether the sweep is still to have new runs, its row locked: it may have been stopped
        since this step has read it."""
        sweep = self._row()
        return sweep.state is SweepState.RUNNING and sweep.cancel_requested_at is None

    def _untold_runs(self) -> dict[int, list[Job]]:
        found: dict[int, list[Job]] = defaultdict(list)
        statement = (
            select(Job)
            .join(Trial, and_(Trial.sweep_id == Job.sweep_id, Trial.number == Job.trial_number))
            .where(Job.sweep_id == self.sweep.id, Trial.told_at.is_(None))
            .order_by(Job.trial_number, Job.seed_index)
        )
        for run in self.session.scalars(statement):
            assert run.trial_number is not None
            found[run.trial_number].append(run)
        return found

    def _is_cut_short(self, runs: Sequence[Job]) -> bool:
        """Whether seeds are missing that a cancelled sweep will not run any more."""
        is_idle = all(run.state.is_finished for run in runs)
        return is_idle and self.sweep.cancel_requested_at is not None

    def _tell(self, search: Search, number: int, job_id: str, result: Result) -> None:
        reason = (result.reason or {}).get("message")
        search.tell(
            number,
            _VERDICTS.get(result.outcome, Verdict.FAIL),
            result.values,
            curve=self._curve(search, job_id),
            constraints=result.violations,
            reason=reason,
        )
        trial = self.session.get_one(Trial, (self.sweep.id, number))
        trial.outcome = result.outcome
        trial.values = result.values
        trial.seed_values = result.seed_values
        trial.violations = dict(result.violations)
        trial.reason = result.reason
        trial.told_at = func.now()
        sweep = self._row()
        sweep.updated_at = func.now()
        self.session.flush()
        # Where nothing of a trial is kept for its own sake, a better one takes an earlier's place.
        # As the row has it: the search knows what was wanted when it was made.
        numbers = [number] if sweep.config["retention"]["save_trial_best"] else None
        retain(self.session, sweep, self.advancer.artifacts, numbers=numbers)
        logger.info("%s: trial %s %s %s", self.sweep.id, number, result.outcome, result.values)

    def _curve(self, search: Search, job_id: str) -> dict[int, float | None]:
        """The objective by epoch, so that the study has what no pruner has asked about; a study
        with several objectives has no curves."""
        if len(search.spec.goals) > 1:
            return {}
        points = self.session.execute(
            select(MetricPoint.step, MetricPoint.value)
            .where(MetricPoint.job_id == job_id, MetricPoint.name == search.spec.goals[0].metric)
            .order_by(MetricPoint.step)
        )
        return {point.step: point.value for point in points}

    def _is_over_budget(self, search: Search) -> bool:
        """Stop the sweep when more trials have failed than it bears."""
        failed = self.session.scalar(
            select(func.count()).where(Trial.sweep_id == self.sweep.id, Trial.outcome == "failed")
        )
        budget = search.spec.failure_budget
        if (failed or 0) <= budget:
            return False
        self._stop(
            "too-many-failures",
            f"{failed} trials have failed; the sweep bears {budget}.",
            "Look at the failed trials' reasons; narrow the search space or raise max_failures.",
        )
        return True

    def _end(self) -> None:
        sweep = self._row()
        is_wanted = sweep.cancel_requested_at is None and sweep.created_trials < sweep.n_trials
        if is_wanted:
            return  # it was extended at this moment
        complete = self.session.scalar(
            select(func.count()).where(Trial.sweep_id == sweep.id, Trial.outcome == "succeeded")
        )
        if sweep.cancel_requested_at is not None:
            is_given_up = (sweep.reason or {}).get("class") != "cancelled"
            sweep.state = SweepState.FAILED if is_given_up else SweepState.CANCELLED
        elif complete:
            sweep.state = SweepState.SUCCEEDED
        else:
            sweep.state = SweepState.FAILED
            sweep.reason = {
                "class": "sweep",
                "code": "no-complete-trial",
                "message": "No trial came to its end.",
                "next_action": "Look at the trials' reasons.",
            }
        sweep.finished_at = func.now()
        self.advancer.searches.forget(sweep.id)
        logger.info("%s: %s", sweep.id, sweep.state.value)

    def _stop(self, code: str, message: str, next_action: str | None = None) -> None:
        """Let nothing new begin and end what runs; the sweep fails when that has ended."""
        sweep = self._row()
        if sweep.cancel_requested_at is None:
            sweep.cancel_requested_at = func.now()
            sweep.reason = {
                "class": "sweep",
                "code": code,
                "message": message,
                "next_action": next_action,
            }
        for run in live_runs(self.session, sweep.id):
            cancel(self.session, run)
        logger.warning("%s: %s", sweep.id, message)

    def _make(self, search: Search, runs: dict[int, list[Job]]) -> int | None:
        """Queue one more run: a missing seed first, else a new trial."""
        live = sum(not run.state.is_finished for one in runs.values() for run in one)
        if live >= self.sweep.max_parallel:
            return None
        try:
            for number, mine in sorted(runs.items()):
                waits = all(run.state.is_finished for run in mine) or len(mine) > 1
                if waits and len(mine) < search.spec.seeds_per_trial:
                    if not self._goes_on():
                        return None
                    trial = self.session.get_one(Trial, (self.sweep.id, number))
                    return int(self._queue(search, number, trial.params, len(mine)) is not None)
            if self.sweep.created_trials >= self.sweep.n_trials:
                return None
            return self._make_trial(search)
        except TooManyJobsError as error:
            logger.info("%s waits: %s", self.sweep.id, error)
            return None

    def _make_trial(self, search: Search) -> int | None:
        number = self.sweep.created_trials
        try:
            suggestion = self.advancer.searches.suggest(search, number)
        except (AskError, ValueError) as error:
            logger.warning("%s: the sampler failed: %s", self.sweep.id, error)
            if self.advancer.bears(self.sweep.id):
                return None
            self._stop("sampler", f"The sampler failed: {error}")
            return 0
        self.advancer.worked(self.sweep.id)
        if not self._goes_on():
            return None  # the suggestion waits in the study
        job = self._queue(search, number, suggestion.params, 0)
        if job is None:
            return 0
        self.session.add(
            Trial(sweep_id=self.sweep.id, number=number, params=suggestion.params, job_id=job.id)
        )
        self.sweep.created_trials = number + 1
        self.session.flush()
        return 1

    def _queue(self, search: Search, number: int, params: Params, seed_index: int) -> Job | None:
        """Submit a run of a trial; None when that is impossible, which ends the sweep."""
        spec, sweep = search.spec, self.sweep
        config = search.space.config(params)
        if seed_index:
            config["seed"] = spec.config.seed + seed_index
        given: Json = {
            "name": f"{sweep.name} · trial {number}" + (f" · seed {seed_index}" * (seed_index > 0)),
            "dataset": sweep.dataset,
            "labels": sweep.labels,
            "priority": sweep.priority,
            "config": config,
            "resources": sweep.config["resources"],
            "limits": sweep.config["limits"],
        }
        job_spec, problems = check(JobSpec, given)
        try:
            if job_spec is None:
                raise InvalidSpecError(problems)
            header = read_header(self.advancer.caches / f"{sweep.dataset}{SUFFIX}")
            if header.fingerprint != sweep.dataset_fingerprint:
                message = "the dataset is not the one that the sweep was created for"
                raise InvalidSpecError([Problem("/dataset", "dataset-changed", message)])
            return submit(
                self.session,
                job_spec,
                given=given,
                header=header,
                api_key_id=sweep.api_key_id,
                trial=TrialRun(sweep.id, number, seed_index),
            )
        except (DatasetError, DatasetInUseError, InvalidSpecError) as error:
            told = str(error)
            if isinstance(error, InvalidSpecError):
                told = "; ".join(f"{p.pointer}: {p.message}" for p in error.problems)
            self._stop(error.code, f"Trial {number} cannot be run: {told}.")
            return None


_CUT_SHORT: Json = {
    "class": "cancelled",
    "code": "cancelled",
    "message": "The sweep was cancelled before all of the trial's seeds had run.",
    "next_action": None,
}
