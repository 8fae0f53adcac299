"""What a run ran on, seen from inside the process."""

from __future__ import annotations

import os
import platform
import resource
import sys
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

_PACKAGES = ("gogooku3", "torch", "numpy", "pyarrow", "safetensors", "adabelief-pytorch")
_OPTIONAL = ("lightgbm",)
_VARIABLES = (
    "OMP_NUM_THREADS",
    "OMP_WAIT_POLICY",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "POLARS_MAX_THREADS",
    "CUDA_VISIBLE_DEVICES",
)


def code_version() -> str:
    """The installed version of this package."""
    return metadata.version("gogooku3")


def environment() -> dict[str, str]:
    """Versions of what takes part in the arithmetic, and the machine's kind."""
    versions = {name: metadata.version(name) for name in _PACKAGES}
    for name in _OPTIONAL:
        with suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    return versions | {
        "python": platform.python_version(),
        "platform": f"{sys.platform}-{platform.machine()}",
    }


def process(device: torch.device, precision: str) -> dict[str, Any]:
    """Device, threads and environment of this process, as they are and not as they were asked."""
    return {
        "pid": os.getpid(),
        "device": str(device),
        "device_name": (
            torch.cuda.get_device_name(device) if device.type == "cuda" else _processor()
        ),
        "precision": precision,
        "threads": torch.get_num_threads(),
        "interop_threads": torch.get_num_interop_threads(),
        "cpus": len(os.sched_getaffinity(0)),
        "variables": {name: os.environ.get(name) for name in _VARIABLES},
        "versions": environment(),
        "host": platform.node(),
    }


def memory_bytes(device: torch.device) -> dict[str, float | None]:
    """`sys/...` metrics: this process's memory now and at its highest, in bytes."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    found: dict[str, float | None] = {
        "sys/rss_bytes": float(pages * resource.getpagesize()),
        "sys/peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0,
    }
    if device.type == "cuda":
        found["sys/gpu_memory_bytes"] = float(torch.cuda.max_memory_allocated(device))
    return found


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
