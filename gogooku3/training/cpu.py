"""How busy the processor's threads are that a trainer may use."""

from __future__ import annotations

import time

import torch


class CpuMeter:
    """This process's processor time, against that of as many threads as torch may use."""

    def __init__(self) -> None:
        self._used_s, self._at_s = time.process_time(), time.monotonic()

    def metrics(self) -> dict[str, float | None]:
        """`sys/cpu_util`: the share since the last call; 1 = every thread was busy all the time."""
        used_s, at_s = time.process_time(), time.monotonic()
        share = (used_s - self._used_s) / max(at_s - self._at_s, 1e-9) / torch.get_num_threads()
        self._used_s, self._at_s = used_s, at_s
        return {"sys/cpu_util": share}
