"""The trainer's log, in words: one line an event that a person would want to read."""

from __future__ import annotations

import logging
import sys

from gogooku3.events import (
    CheckpointEvent,
    EndEvent,
    EpochEvent,
    Event,
    FailureEvent,
    StartEvent,
    WarningEvent,
)

logger = logging.getLogger(__name__)

SHOWN = ("train/loss", "valid/loss", "valid/rank_ic", "valid/ic", "valid/sharpe", "train/lr")
"""Metrics of an epoch's line; the rest are in the job's metrics."""


def to_standard_output() -> None:
    """Send this process's log and warnings to standard output, which is the job's log file."""
    logging.basicConfig(
        stream=sys.stdout,
        level=logging.INFO,
        format="%(asctime)s %(levelname)s %(message)s",
    )
    logging.captureWarnings(True)


def tell(event: Event) -> None:
    """Log an event; progress and resume points are left out."""
    match event:
        case StartEvent(provenance=found):
            logger.info(
                "training on %s with %s threads, dataset %s, %s parameters",
                found.get("device"),
                found.get("threads"),
                (found.get("dataset") or {}).get("name"),
                found.get("parameters"),
            )
        case EpochEvent():
            values = [f"{name} {event.metrics[name]:.4g}" for name in SHOWN if _known(event, name)]
            logger.info("epoch %d in %.1f s: %s", event.epoch, event.duration_s, ", ".join(values))
        case CheckpointEvent():
            best = ", the best so far" if event.is_best else ""
            logger.info("wrote %s%s", event.path, best)
        case WarningEvent():
            logger.warning("%s: %s", event.code, event.message)
        case FailureEvent():
            logger.error("%s (%s): %s", event.code, event.failure_class, event.message)
        case EndEvent():
            logger.info("%s; best epoch %s", event.outcome, event.best_epoch)
        case _:
            return


def _known(event: EpochEvent, name: str) -> bool:
    return event.metrics.get(name) is not None
