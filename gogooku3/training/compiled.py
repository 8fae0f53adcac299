"""torch.compile, where it works: asked for by `compile`, tried on a batch before it is trusted."""

from __future__ import annotations

from collections.abc import Callable
from inspect import isroutine
from typing import Any

import torch

from gogooku3.data.batch import Batch
from gogooku3.models.base import Model, ModelOutput

Forward = Callable[[Batch], ModelOutput]


def compiled(model: Model, batch: Batch, warn: Callable[[str], None], **options: Any) -> Forward:
    """The model's forward pass, compiled for any number of stocks; the model itself, after a
    warning, where that does not work.

    What modules name as `uncompiled` is left out: it has a loop whose length follows from the
    batch's (over chunks that fit into the cache, over days) and that would be unrolled, anew for
    every batch, and a backward pass of its own, or none. The rest is tried on `batch`, forward and
    backward, so that what fails does so here. Weights and gradients are left as they are.

    Args:
        options: of `torch.compile`, beside `dynamic`.
    """
    _leave_out(model)
    # Every number of the models is a constant; taken for an unknown, as `dynamic` has it, one that
    # several custom functions read makes the compiler fail.
    torch._dynamo.config.specialize_float = True
    # What `deterministic` asked for, told to the compiler as well.
    torch.use_deterministic_algorithms(torch.are_deterministic_algorithms_enabled())
    try:
        forward: Forward = torch.compile(model, dynamic=True, **options)
        forward(batch).score_BNK.sum().backward()
    except Exception as error:  # a compiler has many ways to fail, and none may end a run
        warn(f"torch.compile failed, the model runs as it is: {_first_line(error)}")
        return model
    finally:
        model.zero_grad(set_to_none=True)
    return forward


def _leave_out(model: Model) -> None:
    for module in model.modules():
        for name in getattr(module, "uncompiled", ()):
            part = getattr(module, name)
            if part is not None:
                function = part if isroutine(part) else part.__call__
                setattr(module, name, torch.compiler.disable(function))


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else ''}"
