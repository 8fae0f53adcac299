"""Optimisers and learning-rate schedules."""

from gogooku3.optim.optimizers import OPTIMIZERS, build_optimizer
from gogooku3.optim.schedules import SCHEDULES, Schedule, build_scheduler

__all__ = ["OPTIMIZERS", "SCHEDULES", "Schedule", "build_optimizer", "build_scheduler"]
