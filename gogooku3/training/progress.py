"""Tells where the run is: seldom, and never by asking the device."""

from __future__ import annotations

import time
from collections.abc import Callable

from gogooku3.events import Event, ProgressEvent

INTERVAL_S = 2.0


class Progress:
    """Emits a ProgressEvent at most every `INTERVAL_S`, with the time that is left.

    The estimate takes this process's own pace: seconds per step, and per evaluation once there
    was one.
    """

    def __init__(self, emit: Callable[[Event], None], max_epochs: int, steps: int) -> None:
        self._emit = emit
        self._max_epochs = max_epochs
        self._steps = steps
        self._sent_at = -INTERVAL_S
        self._step_s: float | None = None
        self._evaluation_s = 0.0

    def measured_step(self, seconds: float) -> None:
        """Note how long a step took; the first ones weigh until others took their place."""
        before = self._step_s
        self._step_s = seconds if before is None else 0.95 * before + 0.05 * seconds

    def measured_evaluation(self, seconds: float) -> None:
        """Note how long an evaluation and its checkpoint took."""
        self._evaluation_s = seconds

    def at(self, epoch: int, step: int, *, force: bool = False) -> None:
        """The run is in `epoch` (from 1) with `step` of its steps done."""
        now = time.monotonic()
        if not force and now - self._sent_at < INTERVAL_S:
            return
        self._sent_at = now
        self._emit(
            ProgressEvent(
                epoch=epoch,
                max_epochs=self._max_epochs,
                step=step,
                steps=self._steps,
                eta_s=self._left_s(epoch, step),
            )
        )

    def _left_s(self, epoch: int, step: int) -> float | None:
        if self._step_s is None:
            return None
        epochs_after = self._max_epochs - epoch
        steps_left = self._steps - step + epochs_after * self._steps
        return round(steps_left * self._step_s + (epochs_after + 1) * self._evaluation_s, 3)
