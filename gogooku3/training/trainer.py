"""`train`: config and dataset in, events and files out.

Notable:
- A run is a function of (config, dataset) on the CPU: same bits, however often it was killed.
- After each epoch: checkpoint, then resume state, both on the disk; only then is it told.
- The test split is never looked at.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from gogooku3.config import TrainConfig
from gogooku3.events import (
    CheckpointEvent,
    EndEvent,
    EpochEvent,
    Event,
    ResumePointEvent,
    StartEvent,
    WarningEvent,
    parse_event,
)
from gogooku3.training.best import BestEpoch
from gogooku3.training.checkpoint import SUFFIX, save_checkpoint
from gogooku3.training.compiled import compiled
from gogooku3.training.cpu import CpuMeter
from gogooku3.training.device import autocast, deterministic
from gogooku3.training.epoch_scores import score_epoch
from gogooku3.training.evaluation import Evaluation, Interrupted
from gogooku3.training.experiment import Experiment
from gogooku3.training.fit import fit_at_once
from gogooku3.training.gpu import GpuSampler
from gogooku3.training.journal import Journal
from gogooku3.training.leaks import guard
from gogooku3.training.memory import limit_memory
from gogooku3.training.progress import Progress
from gogooku3.training.proof import prove
from gogooku3.training.provenance import memory_bytes
from gogooku3.training.reports import write_best, write_selection
from gogooku3.training.resume import FILE_NAME, ResumeState, load_resume, save_resume
from gogooku3.training.statistics import EpochStatistics
from gogooku3.training.team import ALONE, Team

Outcome = Literal["completed", "stopped_early", "interrupted"]

RESUME_INTERVAL_S = 60.0
"""Seconds of training that a killed run loses at most, within an epoch."""


@dataclass(frozen=True)
class TrainResult:
    """How a run ended."""

    outcome: Outcome
    epochs: list[EpochEvent]
    best_epoch: int | None
    best_metrics: dict[str, float | None]
    best_checkpoint: Path | None
    last_checkpoint: Path | None
    resume_state: Path


def train(
    config: TrainConfig,
    *,
    dataset: Path,
    out_dir: Path,
    on_event: Callable[[Event], None],
    should_stop: Callable[[], bool] = lambda: False,
    resume: Path | None = None,
    recorded_epoch: int = 0,
    device: str = "cpu",
    resume_interval_s: float = RESUME_INTERVAL_S,
    memory_mb: int | None = None,
    team: Team = ALONE,
) -> TrainResult:
    """Train a model, telling `on_event` what happens.

    Args:
        dataset: the cache's file.
        out_dir: folder of the run's files; made if missing.
        should_stop: asked at every step; once true, the resume state is written and the run ends
            as `interrupted`.
        resume: resume state to go on from; the end is bit for bit that of an uninterrupted run.
        recorded_epoch: last epoch the caller has the event of; later ones in the resume state are
            told again.
        device: `cpu` or `cuda:0`.
        resume_interval_s: seconds between resume states within an epoch.
        memory_mb: MiB that this process may hold beside the mapped dataset; None = no limit.
        team: this process's place among several that train together, all called with the same
            arguments but `device`. Only the leading one writes files and tells events.

    Raises:
        DatasetError, ConfigError: the parts don't fit together, or a feature or the split lets in
            the future (nothing was trained).
        DivergedError: a loss, gradient or score became NaN or infinite.
        CheckpointError: the resume state is damaged, or a written checkpoint does not reproduce.
    """
    experiment = Experiment.open(config, dataset, device, team)
    limit_memory(memory_mb)
    if resume is None and team.leads:
        guard(experiment.panel, experiment.split, config.data)
    if not team.leads:
        on_event = _say_nothing
    out_dir.mkdir(parents=True, exist_ok=True)
    with deterministic(experiment.device):
        run = _Run(experiment, out_dir, on_event, should_stop, resume_interval_s, recorded_epoch)
        return run.execute(resume)


def _say_nothing(event: Event) -> None:
    """What ranks tell that do not lead."""


@dataclass
class _Run:
    experiment: Experiment
    out_dir: Path
    emit: Callable[[Event], None]
    should_stop: Callable[[], bool]
    resume_interval_s: float
    recorded_epoch: int
    done: int = 0
    """Complete epochs."""
    step: int = 0
    """Steps done in the epoch after those."""
    selection: list[list[float]] = field(default_factory=list)
    attention: list[list[float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.journal = Journal(self.out_dir, self.emit, self.recorded_epoch)
        self.best = BestEpoch(self.experiment.config.early_stopping)
        self.statistics = self._fresh_statistics()
        self.progress = Progress(self.emit, self.experiment.epochs, self.experiment.steps)
        self.saved_at = time.monotonic()
        self.gpu = GpuSampler.open(self.experiment.device)
        self.cpu = CpuMeter()

    def execute(self, resume: Path | None) -> TrainResult:
        provenance = self.experiment.provenance()
        warnings: list[Event] = []
        if resume is not None and not resume.exists():
            message = f"the resume state {resume.name} is gone: the run starts from the beginning"
            warnings.append(WarningEvent(code="resume-missing", message=message))
        elif resume is not None:
            self._restore(resume)
            provenance["resumed_from"] = {"epoch": self.done, "step": self.step}
        self.emit(StartEvent(provenance=provenance))
        for event in warnings:
            self.emit(event)
        self.journal.tell_again()
        self._compile()
        try:
            outcome = self._epochs()
        finally:
            if self.gpu is not None:
                self.gpu.close()
        best_metrics = self.best.metrics or {}
        self.emit(EndEvent(outcome=outcome, best_epoch=self.best.epoch, best_metrics=best_metrics))
        return TrainResult(
            outcome=outcome,
            epochs=self.journal.epochs,
            best_epoch=self.best.epoch,
            best_metrics=best_metrics,
            best_checkpoint=self.journal.checkpoint_of(self.best.epoch),
            last_checkpoint=self.journal.checkpoint_of(self.done),
            resume_state=self.out_dir / FILE_NAME,
        )

    def _compile(self) -> None:
        experiment = self.experiment
        learner, config = experiment.learner, experiment.config
        if learner is None or not config.compile:
            return

        def warn(message: str) -> None:
            self.emit(WarningEvent(code="not-compiled", message=message))

        batch = learner.first_batch(experiment.split.train_D)
        with autocast(experiment.device, experiment.precision):
            learner.forward = compiled(experiment.model, batch, warn)

    def _epochs(self) -> Outcome:
        while not self._is_over():
            epoch = self.done + 1
            self.progress.at(epoch, self.step, force=True)
            try:
                self._learn(epoch)
                began = time.monotonic()
                evaluation = self._evaluate()
            except Interrupted:
                self._save_and_tell_resume()
                return "interrupted"
            self._finish(epoch, evaluation, began)
            self._follow(epoch)
        return "stopped_early" if self.done < self.experiment.epochs else "completed"

    def _is_over(self) -> bool:
        return self.done > 0 and (self.done >= self.experiment.epochs or self.best.gave_up)

    def _learn(self, epoch: int) -> None:
        """Train one epoch. Raises Interrupted at a step boundary if asked to stop."""
        experiment = self.experiment
        if any(experiment.team.agree(self.should_stop())):
            raise Interrupted
        if experiment.learner is None:
            # A run that was stopped while it was evaluated has learned already.
            if experiment.model.learns == "fit" and self.step < experiment.steps:
                fit_at_once(experiment, self.statistics, self.should_stop)
            self.step = experiment.steps
            return
        whole = experiment.learner.epoch(
            epoch,
            experiment.split.train_D,
            self.step,
            self.statistics,
            lambda step, seconds, verify: self._after_step(epoch, step, seconds, verify),
        )
        if not whole:
            raise Interrupted

    def _after_step(
        self, epoch: int, step: int, seconds: float, verify: Callable[[], None]
    ) -> bool:
        self.step = step
        self.progress.measured_step(seconds)
        self.progress.at(epoch, step)
        is_due = time.monotonic() - self.saved_at >= self.resume_interval_s
        team = self.experiment.team
        must_save, must_stop = team.agree(is_due and team.leads, self.should_stop())
        if must_save:
            verify()
            self._save_and_tell_resume()
        return must_stop

    def _evaluate(self) -> Evaluation | None:
        """The epoch's scores and metrics, at the leading rank. Raises Interrupted on all ranks."""
        team = self.experiment.team
        found, is_interrupted = None, False
        if team.leads:
            try:
                found = score_epoch(self.experiment, self.should_stop)
            except Interrupted:
                is_interrupted = True
        if any(team.agree(is_interrupted)):
            raise Interrupted
        return found

    def _follow(self, epoch: int) -> None:
        """All ranks go on from what the leading one found."""
        self.done, self.step = epoch, 0
        self.best.restore(self.experiment.team.led(self.best.state()))
        if self.experiment.learner is not None:
            self.experiment.learner.schedule.note(self.best.epoch == epoch)
        self.statistics = self._fresh_statistics()

    def _finish(self, epoch: int, evaluation: Evaluation | None, began: float) -> None:
        """An epoch is trained and evaluated: write what it left, then tell."""
        experiment, statistics = self.experiment, self._whole_statistics()
        if evaluation is None or statistics is None:
            return
        metrics = statistics.metrics() | evaluation.metrics
        if experiment.learner is not None:
            metrics["train/lr"] = experiment.learner.mean_lr(epoch, experiment.steps)
        is_best = self.best.update(epoch, metrics)
        self.done, self.step = epoch, 0
        if evaluation.selection_F is not None:
            self.selection.append(evaluation.selection_F)
            if evaluation.attention_A is not None:
                self.attention.append(evaluation.attention_A)
            features = experiment.shape.features
            write_selection(self.out_dir, features, self.selection, self.attention)
        checkpoint = None
        if is_best or self._is_over():
            checkpoint = self._write_checkpoint(epoch, metrics, evaluation, is_best)
        if is_best:
            write_best(self.out_dir, experiment.panel, evaluation, epoch)
        evaluation_s = time.monotonic() - began
        self.progress.measured_evaluation(evaluation_s)
        duration_s = statistics.elapsed_s + evaluation_s
        timings = {"sys/epoch_s": duration_s, "sys/evaluation_s": evaluation_s}
        metrics |= timings | memory_bytes(experiment.device) | self.cpu.metrics()
        metrics |= {} if self.gpu is None else self.gpu.metrics()
        self.journal.note(EpochEvent(epoch=epoch, metrics=metrics, duration_s=duration_s))
        if checkpoint is not None:
            self.journal.note(checkpoint)
        self._save_resume(None)
        self.journal.tell(epoch)
        self._tell_resume()

    def _write_checkpoint(
        self,
        epoch: int,
        metrics: dict[str, float | None],
        evaluation: Evaluation,
        is_best: bool,
    ) -> CheckpointEvent:
        experiment = self.experiment
        manifest = experiment.manifest(epoch, metrics, evaluation.selection_F)
        path = self.out_dir / f"epoch-{epoch:04d}{SUFFIX}"
        with experiment.kept_weights():
            written = save_checkpoint(path, experiment.model, manifest)
            prove(path, experiment)
        return CheckpointEvent(
            epoch=epoch,
            path=path.name,
            size=written.size,
            sha256=written.sha256,
            is_best=is_best,
            metrics=manifest.metrics,
        )

    def _restore(self, path: Path) -> None:
        experiment = self.experiment
        state = load_resume(path, experiment.config, experiment.panel.header.fingerprint)
        experiment.model.load_state_dict(state.weights)
        if experiment.learner is not None and state.optimizer is not None:
            experiment.learner.optimizer.load_state_dict(state.optimizer)
            if experiment.learner.ema is not None and state.ema is not None:
                experiment.learner.ema.restore(**state.ema)
        self.done, self.step = state.epoch, state.step
        if experiment.team.leads:
            self.journal.restore(state.events, path.parent)
        self.selection, self.attention = state.selection, state.attention
        self.best.restore(state.best)
        if experiment.learner is not None:  # what the schedule was told is told again
            again = BestEpoch(experiment.config.early_stopping)
            for event in map(parse_event, state.events):
                if isinstance(event, EpochEvent):
                    experiment.learner.schedule.note(again.update(event.epoch, event.metrics))
        # The leading rank holds what all ranks had done.
        if state.statistics is not None and experiment.team.leads:
            self.statistics.restore(state.statistics)

    def _save_and_tell_resume(self) -> None:
        """Within an epoch; all ranks call it."""
        statistics = self._whole_statistics()
        self.saved_at = time.monotonic()
        if statistics is not None:
            self._save_resume(statistics if self.step else None)
            self._tell_resume()

    def _whole_statistics(self) -> EpochStatistics | None:
        """The epoch's statistics of all ranks, at the leading one."""
        team = self.experiment.team
        if team.size == 1:
            return self.statistics
        states = team.gather(self.statistics.state())
        return self.statistics.with_ranks(states) if states else None

    def _save_resume(self, statistics: EpochStatistics | None) -> None:
        """Write the resume state, with the statistics of the epoch under way."""
        experiment = self.experiment
        learner = experiment.learner
        save_resume(
            self.out_dir / FILE_NAME,
            ResumeState(
                config=experiment.config.model_dump_json(),
                fingerprint=experiment.panel.header.fingerprint,
                epoch=self.done,
                step=self.step,
                weights=experiment.model.state_dict(),
                optimizer=learner.optimizer.state_dict() if learner else None,
                statistics=None if statistics is None else statistics.state(),
                best=self.best.state(),
                events=self.journal.lines(),
                selection=self.selection,
                attention=self.attention,
                ema=learner.ema.state() if learner and learner.ema else None,
            ),
        )
        self.saved_at = time.monotonic()

    def _tell_resume(self) -> None:
        self.emit(ResumePointEvent(epoch=self.done, step=self.step, path=FILE_NAME))

    def _fresh_statistics(self) -> EpochStatistics:
        return EpochStatistics(self.experiment.steps, self.experiment.device)
