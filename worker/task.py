"""What the two kinds of job make of an attempt: what the child is asked, and what comes of it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from sqlalchemy.orm import Session

from app.db import Json
from app.jobs.builds import publish, staging_folder
from app.jobs.claim import Claim
from app.jobs.sources import JQUANTS, find_source
from gogooku3.config import DatasetConfig, FileSource, JQuantsSource, TrainConfig
from gogooku3.data.header import SUFFIX
from gogooku3.errors import DatasetNotFoundError
from gogooku3.events import (
    BuildRequest,
    CheckpointEvent,
    DatasetEvent,
    Event,
    ResumePointEvent,
    RunRequest,
    StartEvent,
    WarningEvent,
)
from gogooku3.outputs import FILES
from worker.child import SOURCE_KEYS
from worker.classify import dataset_changed
from worker.identity import DatasetIdentity
from worker.place import Workplace

BUILD_GRACE_S = 5.0
"""A builder has nothing to keep: it only removes what it has begun to write."""


class Task(Protocol):
    """An attempt's work, as its supervisor sees it."""

    who: str
    """What the child is called."""
    command: Sequence[str]
    variables: Mapping[str, str]
    """What the child's environment has beside that of every child."""
    grace_s: float
    """Time the child has to end when it is asked to."""

    def request(self) -> tuple[RunRequest | BuildRequest, Sequence[WarningEvent]]:
        """What the child is asked, and what the user should know. Raises Gogooku3Error."""

    def take(self, event: Event) -> Event | None:
        """The event as it is recorded; None = it is kept for the end."""

    def objection(self) -> Json | None:
        """Why the child must not go on; None = it may."""

    def complete(self, session: Session) -> None:
        """What a success brings about, in the transaction that records it. Raises DatasetError,
        DomainError."""

    def clean(self) -> None:
        """Remove what the ended child must not leave behind."""


def task_of(claim: Claim, place: Workplace, out_dir: Path, gpus: str | None) -> Task:
    """The task of a claimed attempt. Raises Gogooku3Error, OSError."""
    if isinstance(claim.config, DatasetConfig):
        return Building(claim, claim.config, place)
    return Training(claim, claim.config, place, out_dir, gpus)


class Training:
    """A trainer's run over a dataset that must stay as it is."""

    who = "trainer"

    def __init__(
        self,
        claim: Claim,
        config: TrainConfig,
        place: Workplace,
        out_dir: Path,
        gpus: str | None,
    ) -> None:
        self.command = place.trainer
        self.variables: Mapping[str, str] = {}
        self.grace_s = place.grace_s
        self._claim = claim
        self._config = config
        self._place = place
        self._out_dir = out_dir
        self._gpus = gpus
        self._dataset = place.caches / f"{claim.dataset}{SUFFIX}"
        self._identity = DatasetIdentity(self._dataset, claim.dataset_fingerprint)
        self._is_another = False

    def request(self) -> tuple[RunRequest, Sequence[WarningEvent]]:
        """The configuration, from the resume state of an earlier attempt if there is one."""
        self._forget()
        warnings = []
        resume = None
        if self._claim.resume_path is not None:
            resume = self._place.artifacts.folder / self._claim.resume_path
            if not self._bring(self._claim.resume_path):
                message = f"{resume.name} is gone: starts from the beginning"
                warnings.append(WarningEvent(code="resume-missing", message=message))
                resume = None
        request = RunRequest(
            config=self._config,
            dataset=self._dataset,
            out_dir=self._out_dir,
            log=self._out_dir.with_name("log.txt"),
            resume=resume,
            recorded_epoch=self._claim.recorded_epoch if resume else 0,
            lease_s=self._place.lease_s,
            cpu_threads=self._claim.resources.cpu_threads,
            device="cpu" if self._gpus is None else "cuda:0",
            ranks=1 if self._gpus is None else len(self._gpus.split(",")),
            memory_mb=self._claim.limits.memory_mb,
        )
        return request, warnings

    def _bring(self, path: str) -> bool:
        """Have an earlier attempt's resume state here, with the outputs that go with it."""
        artifacts = self._place.artifacts
        if not artifacts.fetch(path):
            return False
        for name in FILES:
            artifacts.fetch(str(Path(path).with_name(name)))
        return True

    def _forget(self) -> None:
        """Remove what the attempts before a beginning from scratch have left behind."""
        for number in range(1, self._claim.forgotten_attempt + 1):
            folder = self._out_dir.with_name(f"attempt-{number}")
            shutil.rmtree(folder, ignore_errors=True)

    def take(self, event: Event) -> Event:
        """Files are recorded by their place below the artifacts."""
        if isinstance(event, StartEvent):
            dataset = event.provenance.get("dataset", {})
            self._is_another = dataset.get("fingerprint") != self._claim.dataset_fingerprint
        if isinstance(event, CheckpointEvent | ResumePointEvent):
            path = (self._out_dir / event.path).relative_to(self._place.artifacts.folder)
            event = event.model_copy(update={"path": str(path)})
        return event

    def objection(self) -> Json | None:
        """The dataset is not what the job was submitted for, or is no longer what it was."""
        if self._is_another:
            return dataset_changed(
                "is not the one that the job was submitted for: its fingerprint differs"
            )
        change = self._identity.change()
        return dataset_changed(f"{change} while the job ran") if change else None

    def complete(self, session: Session) -> None:
        """Nothing: every epoch and checkpoint is recorded already."""

    def clean(self) -> None:
        """Let the dataset's file go; checkpoints and resume state stay."""
        self._identity.close()


class Building:
    """A builder's work, in a folder of the attempt's own until it is complete."""

    who = "builder"
    grace_s = BUILD_GRACE_S

    def __init__(self, claim: Claim, config: DatasetConfig, place: Workplace) -> None:
        self.command = place.builder
        self._claim = claim
        self._config = config
        self._place = place
        self._folder = staging_folder(place.caches, claim.job_id, claim.attempt)
        self._file = self._folder / f"{claim.dataset}{SUFFIX}"
        # Whatever a killed builder leaves in its temporary folder goes with the rest.
        keys: dict[str, str] = {}
        if isinstance(config.source, JQuantsSource):
            keys = {name: key for name, key in os.environ.items() if name.startswith(SOURCE_KEYS)}
        self.variables: Mapping[str, str] = {"TMPDIR": str(self._folder)} | keys
        self._built: DatasetEvent | None = None

    def request(self) -> tuple[BuildRequest, Sequence[WarningEvent]]:
        """The configuration, with the source's file if it is still there."""
        self._folder.mkdir(parents=True)
        source = None
        if isinstance(self._config.source, FileSource):
            source = find_source(self._place.data, self._config.source.path)
        elif isinstance(self._config.source, JQuantsSource):
            source = self._place.data / JQUANTS
        request = BuildRequest(
            config=self._config,
            name=self._claim.dataset,
            out=self._file,
            source=source,
            lease_s=self._place.lease_s,
        )
        return request, ()

    def take(self, event: Event) -> Event | None:
        """What was built is recorded when it is published."""
        if isinstance(event, DatasetEvent):
            self._built = event
            return None
        return event

    def objection(self) -> None:
        """A build has none: its source is read once."""

    def complete(self, session: Session) -> None:
        """The dataset gets its name."""
        if self._built is None:
            raise DatasetNotFoundError("the builder ended well without telling what it built")
        publish(
            session,
            self._claim.job_id,
            self._claim.attempt,
            self._built,
            self._file,
            self._place.caches,
        )

    def clean(self) -> None:
        """Remove the attempt's folder, with whatever was begun there."""
        shutil.rmtree(self._folder, ignore_errors=True)
