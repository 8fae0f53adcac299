"""What a run has told so far, and the files that make it true."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from gogooku3.events import CheckpointEvent, EpochEvent, Event, parse_event
from gogooku3.outputs import FILES


class Journal:
    """The epoch and checkpoint events of a run, over all its attempts.

    Args:
        out_dir: folder of this attempt's files.
        emit: whom to tell.
        recorded_epoch: last epoch whose event the caller has; nothing before it is told.
    """

    def __init__(self, out_dir: Path, emit: Callable[[Event], None], recorded_epoch: int) -> None:
        self._out_dir = out_dir
        self._emit = emit
        self._recorded_epoch = recorded_epoch
        self._told: list[EpochEvent | CheckpointEvent] = []

    @property
    def epochs(self) -> list[EpochEvent]:
        """The complete epochs."""
        return [event for event in self._told if isinstance(event, EpochEvent)]

    def lines(self) -> list[str]:
        """The events as JSON lines, for the resume state."""
        return [event.model_dump_json() for event in self._told]

    def note(self, event: EpochEvent | CheckpointEvent) -> None:
        """Keep an event; it is told once the resume state that holds it is on the disk."""
        self._told.append(event)

    def tell(self, epoch: int) -> None:
        """Tell what was noted of an epoch."""
        for event in self._told:
            if event.epoch == epoch and self._is_news(event):
                self._emit(event)

    def restore(self, lines: Sequence[str], folder: Path) -> None:
        """Take over the journal of an earlier attempt, whose files are in `folder`."""
        events = [parse_event(line) for line in lines]
        self._told = [e for e in events if isinstance(e, EpochEvent | CheckpointEvent)]
        if folder.resolve() != self._out_dir.resolve():
            self._bring_files(folder)

    def tell_again(self) -> None:
        """Tell what the caller may have missed of the earlier attempts."""
        for event in self._told:
            if self._is_news(event):
                self._emit(event)

    def checkpoint_of(self, epoch: int | None) -> Path | None:
        """The checkpoint of an epoch, if one was written."""
        for event in self._told:
            if isinstance(event, CheckpointEvent) and event.epoch == epoch:
                return self._out_dir / event.path
        return None

    def _is_news(self, event: EpochEvent | CheckpointEvent) -> bool:
        """An epoch is told once. A resume state may be older than the last recorded epoch, whose
        checkpoint in turn may have been lost on the way behind it."""
        if isinstance(event, CheckpointEvent):
            return event.epoch >= self._recorded_epoch
        return event.epoch > self._recorded_epoch

    def _bring_files(self, folder: Path) -> None:
        """Files are replaced, never written in place: a link is as good as a copy."""
        names = [event.path for event in self._told if isinstance(event, CheckpointEvent)]
        for name in (*names, *FILES):
            source, target = folder / name, self._out_dir / name
            if source.exists() and not target.exists():
                os.link(source, target)
