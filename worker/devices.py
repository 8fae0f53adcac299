"""What this machine can train on, without importing torch."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata

PROBE_TIMEOUT_S = 20.0


@dataclass(frozen=True)
class Slot:
    """Room for one trainer, or a part of what one with several GPUs needs."""

    number: int
    gpu: str | None
    """What CUDA_VISIBLE_DEVICES names this slot's GPU; None = the slot trains on the CPU."""


def find_gpus() -> list[str]:
    """Names of the GPUs that trainers may use, as CUDA_VISIBLE_DEVICES spells them.

    None with a build of torch that cannot use any, whatever the machine has.
    """
    if metadata.version("torch").endswith("+cpu"):
        return []
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        names = [name.strip() for name in visible.split(",")]
        return [name for name in names if name and name != "-1"]
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    try:
        done = subprocess.run(
            [program, "--query-gpu=uuid", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            timeout=PROBE_TIMEOUT_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):  # a driver that does not answer is no GPU
        return []
    return [line.strip() for line in done.stdout.splitlines() if line.strip()]


def make_slots(count: int | None, gpus: Sequence[str]) -> list[Slot]:
    """`count` slots: the first of them get the GPUs, one each. None = as many as there are GPUs,
    and one where there are none."""
    if count is None:
        count = max(1, len(gpus))
    return [Slot(n, gpus[n] if n < len(gpus) else None) for n in range(count)]
