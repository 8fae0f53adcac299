"""The GPU's figures, with a stand-in for NVML: there is no GPU where these tests run."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest
import torch

from gogooku3.training.gpu import GpuSampler


class Nvml:
    """Answers as pynvml does; the third question fails."""

    class NVMLError(Exception):
        pass

    def __init__(self) -> None:
        self.asked = 0

    def nvmlDeviceGetUtilizationRates(self, handle: str) -> SimpleNamespace:
        assert handle == "handle"
        self.asked += 1
        if self.asked == 3:
            raise self.NVMLError("GPU is lost")
        return SimpleNamespace(gpu=40 * self.asked)

    def nvmlDeviceGetMemoryInfo(self, handle: str) -> SimpleNamespace:
        return SimpleNamespace(used=1000 * self.asked)


def test_samples_become_a_mean_and_a_peak_and_a_lost_gpu_ends_them() -> None:
    library = Nvml()
    sampler = GpuSampler(library, "handle", interval_s=0.001)
    until = time.monotonic() + 30
    while library.asked < 3:
        assert time.monotonic() < until
        time.sleep(0.001)
    sampler.close()
    assert sampler.metrics() == {"sys/gpu_util": pytest.approx(0.6), "sys/gpu_memory": 2000.0}
    assert sampler.metrics() == {}


def test_the_cpu_has_no_sampler() -> None:
    assert GpuSampler.open(torch.device("cpu")) is None
