"""Optimisers that run as they are, outside of torch's compiler."""

from __future__ import annotations

from inspect import unwrap
from typing import TypeVar

import torch
from torch.optim import Optimizer

MARKED = ("add_param_group", "zero_grad", "state_dict", "load_state_dict")
Kind = TypeVar("Kind", bound=Optimizer)


def eager(kind: type[Kind]) -> type[Kind]:
    """The same optimiser without what torch puts around its methods for its compiler.

    That is of use only where a whole training step is compiled; here it is the forward pass at
    most. The first call of such a method loads the compiler: two seconds of the processor and
    70 MiB in every trainer.
    """
    methods = {name: unwrap(getattr(kind, name)) for name in MARKED}
    made: type[Kind] = type(
        kind.__name__, (kind,), {**methods, "step": torch.no_grad()(unwrap(kind.step))}
    )
    return made
