"""What an epoch's steps leave behind, kept on the device until somebody asks. Shape: S steps."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

Metrics = dict[str, float | None]


class EpochStatistics:
    """Loss, its parts and the gradient's norm of each optimiser step of one epoch.

    Nothing is read back from the device while steps are added.
    """

    def __init__(self, steps: int, device: torch.device) -> None:
        self.steps = steps
        self._device = device
        self._rows_S: dict[str, Tensor] = {}
        self._samples = torch.zeros((), dtype=torch.int64, device=device)
        self._days = 0
        self.elapsed_s = 0.0
        """Seconds of training in this epoch, those before an interruption included."""
        self.wait_s = 0.0
        """Seconds of them spent on making batches."""

    def add(self, step: int, name: str, value: Tensor) -> None:
        """Add to a step's value of a name; accumulated batches add up."""
        if name not in self._rows_S:
            self._rows_S[name] = torch.zeros(self.steps, device=self._device)
        self._rows_S[name][step] += value.detach().float()

    def count(self, mask_BN: Tensor) -> None:
        """Count a batch's samples."""
        self._samples += mask_BN.sum()
        self._days += len(mask_BN)

    def first_bad_step(self, start: int, end: int) -> int | None:
        """The first step in `start..end` with a value that is NaN or infinite (one device read)."""
        rows = [row_S[start:end] for row_S in self._rows_S.values()]
        if not rows or end <= start:
            return None
        bad_S = ~torch.stack(rows).isfinite().all(dim=0)
        places = bad_S.nonzero().flatten().tolist()
        return start + int(places[0]) if places else None

    def metrics(self) -> Metrics:
        """`train/...` means over the epoch's steps, and the throughput."""
        found: Metrics = {
            f"train/{name}": row_S.double().mean().item() for name, row_S in self._rows_S.items()
        }
        if self.elapsed_s > 0:
            found["sys/samples_per_s"] = self._samples.item() / self.elapsed_s
            found["sys/days_per_s"] = self._days / self.elapsed_s
            found["sys/data_wait_share"] = self.wait_s / self.elapsed_s
        return found

    def state(self) -> dict[str, Any]:
        """For the resume state."""
        return {
            "rows": {name: row_S.cpu() for name, row_S in self._rows_S.items()},
            "samples": int(self._samples.item()),
            "days": self._days,
            "elapsed_s": self.elapsed_s,
            "wait_s": self.wait_s,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a resume state of the same epoch."""
        self._rows_S = {name: row_S.to(self._device) for name, row_S in state["rows"].items()}
        self._samples.fill_(state["samples"])
        self._days = state["days"]
        self.elapsed_s, self.wait_s = state["elapsed_s"], state["wait_s"]
