"""Training objectives: per day, masked, with a gradient that is checked."""

from gogooku3.losses.combined import LOSSES, Loss, Term, build_loss

__all__ = ["LOSSES", "Loss", "Term", "build_loss"]
