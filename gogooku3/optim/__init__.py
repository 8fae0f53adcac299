"""Optimisers and learning-rate schedules."""

from gogooku3.optim.ema import Ema
from gogooku3.optim.optimizers import OPTIMIZERS, build_optimizer
from gogooku3.optim.schedules import SCHEDULES, Schedule, build_scheduler

__all__ = ["OPTIMIZERS", "SCHEDULES", "Ema", "Schedule", "build_optimizer", "build_scheduler"]
