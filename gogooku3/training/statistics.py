"""What an epoch's steps leave behind, kept on the device until somebody asks. Shape: S steps."""

from __future__ import annotations

from collections.abc import Sequence
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
        self._bad_parameter_S = torch.zeros(steps, dtype=torch.int64, device=device)
        self._parameters: tuple[str | None, ...] = (None,)
        self._samples = torch.zeros((), dtype=torch.int64, device=device)
        self._days = 0
        self.elapsed_s = 0.0
        """Seconds of training in this epoch, those before an interruption included."""
        self.wait_s = 0.0
        """Seconds of them spent on waiting for batches."""

    def add(self, step: int, name: str, value: Tensor) -> None:
        """Add to a step's value of a name; accumulated batches add up."""
        if name not in self._rows_S:
            self._rows_S[name] = torch.zeros(self.steps, device=self._device)
        self._rows_S[name][step] += value.detach().float()

    def note_gradient(self, step: int, total: Tensor, norm_P: Tensor, names: Sequence[str]) -> None:
        """Note a step's gradient norms: of all parameters together and of each one."""
        self.add(step, "grad_norm", total)
        bad_P = ~norm_P.isfinite()
        # The place after the last one stands for none.
        first = torch.where(bad_P.any(), bad_P.int().argmax(), len(bad_P))
        self._bad_parameter_S[step] = first
        self._parameters = (*names, None)

    def bad_parameter(self, step: int) -> str | None:
        """The first parameter whose gradient was not finite in a step."""
        return self._parameters[int(self._bad_parameter_S[step])]

    def at(self, step: int) -> dict[str, float]:
        """The values of one step (a device read each)."""
        return {name: row_S[step].item() for name, row_S in self._rows_S.items()}

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

    def with_ranks(self, states: Sequence[dict[str, Any]]) -> EpochStatistics:
        """The statistics of all ranks' shares of the steps, from their states. Sums, but for the
        gradient's norm, which every rank knows whole, and the time, which passes once."""
        whole = EpochStatistics(self.steps, torch.device("cpu"))
        whole.restore(states[0])
        for state in states[1:]:
            for name, row_S in state["rows"].items():
                if name not in whole._rows_S:
                    whole._rows_S[name] = torch.zeros_like(row_S)
                if name != "grad_norm":
                    whole._rows_S[name] += row_S
            whole._samples += state["samples"]
            whole._days += state["days"]
        return whole

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a resume state of the same epoch."""
        self._rows_S = {name: row_S.to(self._device) for name, row_S in state["rows"].items()}
        self._samples.fill_(state["samples"])
        self._days = state["days"]
        self.elapsed_s, self.wait_s = state["elapsed_s"], state["wait_s"]
