"""A run whose numbers are no longer numbers: which step, which parameter, on what data.

Shapes: B days, N stocks, T look-back days, F features.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from gogooku3.data.batch import Batch
from gogooku3.errors import DivergedError
from gogooku3.training.feed import Feed
from gogooku3.training.statistics import EpochStatistics

NAMED = 8
"""Dates, codes and inputs named in the message; the findings have more."""
LISTED = 1000
"""Codes in the findings, at most."""


@dataclass
class Divergence:
    """Watches the steps of one epoch."""

    feed: Feed
    epoch: int
    groups: Sequence[Sequence[Sequence[int]]]
    """The days of each batch of each step."""
    batches: Callable[[int], Iterable[Batch]]
    """Makes the batches of a step once more."""
    statistics: EpochStatistics
    checked: int
    """Steps known to be good."""

    def check(self, end: int, lr: float) -> None:
        """Raise DivergedError if a step before `end` left a value that is not finite."""
        bad = self.statistics.first_bad_step(self.checked, end)
        if bad is None:
            self.checked = max(self.checked, end)
            return
        raise self._error(bad, lr)

    def _error(self, step: int, lr: float) -> DivergedError:
        found = self.statistics.at(step)
        parameter = self.statistics.bad_parameter(step)
        days = [day for batch in self.groups[step] for day in batch]
        dates = [day.isoformat() for day in self.feed.dates(days)]
        codes, inputs = self._look_at_data(step)
        loss = found.get("loss")
        what = f"the gradient of {parameter}" if parameter else "the loss or its gradient"
        inside = [f"{i['feature']} of {i['code']} on {i['date']}" for i in inputs]
        cause = f"; not finite in the data: {_some(inside)}" if inside else ""
        finding: dict[str, Any] = {
            "epoch": self.epoch,
            "step": step + 1,
            "steps": self.statistics.steps,
            "parameter": parameter,
            "values": {name: str(value) for name, value in found.items()},
            "lr": lr,
            "dates": dates,
            "stocks": len(codes),
            "codes": codes[:LISTED],
            "inputs": inputs,
        }
        return DivergedError(
            f"{what} became NaN or infinite in epoch {self.epoch} at step {step + 1} of "
            f"{self.statistics.steps} (loss {loss:.3g}, learning rate {lr:.3g}), training on "
            f"{_some(dates)} with {len(codes)} stocks ({_some(codes)}){cause}",
            findings=(finding,),
        )

    def _look_at_data(self, step: int) -> tuple[list[str], list[dict[str, str]]]:
        """The codes of a step's batches, and features of theirs that are no numbers."""
        panel = self.feed.panel
        codes: set[str] = set()
        inputs: list[dict[str, str]] = []
        for batch in self.batches(step):
            stock_BN = batch.stock_BN.cpu()
            codes.update(panel.codes[stock] for stock in stock_BN[stock_BN >= 0].tolist())
            bad_BNTF = (~batch.x_BNTF.isfinite()).cpu()
            lookback = bad_BNTF.shape[2]
            for b, n, t, f in bad_BNTF.nonzero()[: NAMED - len(inputs)].tolist():
                day = int(batch.day_B[b]) - (lookback - 1 - t)
                inputs.append(
                    {
                        "code": panel.codes[int(stock_BN[b, n])],
                        "date": panel.calendar[day].isoformat(),
                        "feature": self.feed.features[f],
                    }
                )
        return sorted(codes), inputs


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
