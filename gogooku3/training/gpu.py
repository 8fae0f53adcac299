"""How busy and how full a GPU is, sampled while it works. Needs the package nvidia-ml-py."""

from __future__ import annotations

import importlib
import logging
import threading
from typing import Any

import torch

logger = logging.getLogger(__name__)

INTERVAL_S = 0.5


class GpuSampler:
    """Samples one GPU from a thread of its own, through NVML: the trainer never waits for it.

    Utilisation is NVML's: the share of the time in which some kernel ran, not how well it used the
    GPU.
    """

    def __init__(self, library: Any, handle: Any, interval_s: float = INTERVAL_S) -> None:
        self._library, self._handle, self._interval_s = library, handle, interval_s
        self._lock = threading.Lock()
        self._samples: list[tuple[float, float]] = []
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="gpu-sampler", daemon=True)
        self._thread.start()

    @classmethod
    def open(cls, device: torch.device) -> GpuSampler | None:
        """A sampler of a device; None on the CPU, and where NVML cannot be had."""
        if device.type != "cuda":
            return None
        uuid = str(torch.cuda.get_device_properties(device).uuid)
        try:
            library = importlib.import_module("pynvml")
        except ImportError:
            logger.info("no GPU figures: pip install 'gogooku3[gpu]'")
            return None
        try:
            library.nvmlInit()
            handle = library.nvmlDeviceGetHandleByUUID(f"GPU-{uuid.removeprefix('GPU-')}")
        except library.NVMLError as error:
            logger.warning("no GPU figures: %s", error)
            return None
        return cls(library, handle)

    def metrics(self) -> dict[str, float | None]:
        """`sys/gpu_util` (mean share of the time) and `sys/gpu_memory` (highest, bytes, of all
        processes) since the last call; nothing if there was no sample."""
        with self._lock:
            samples, self._samples = self._samples, []
        if not samples:
            return {}
        busy, used = zip(*samples, strict=True)
        return {"sys/gpu_util": sum(busy) / len(busy), "sys/gpu_memory": max(used)}

    def close(self) -> None:
        """Stop sampling."""
        self._is_over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._is_over.wait(self._interval_s):
            try:
                percent = float(self._library.nvmlDeviceGetUtilizationRates(self._handle).gpu)
                used = float(self._library.nvmlDeviceGetMemoryInfo(self._handle).used)
            except self._library.NVMLError as error:
                logger.warning("no more GPU figures: %s", error)
                return
            with self._lock:
                self._samples.append((percent / 100, used))
