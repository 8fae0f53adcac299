"""Optimisers by the `kind` that a spec names."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from types import MappingProxyType
from typing import Any

import torch
from adabelief_pytorch import AdaBelief
from torch import nn
from torch.optim import Optimizer

from gogooku3.config import AdaBeliefConfig, AdamWConfig, LionConfig, OptimizerConfig
from gogooku3.optim.eager import eager
from gogooku3.optim.lion import Lion

Groups = list[dict[str, Any]]
_AdamW = eager(torch.optim.AdamW)
_AdaBelief = eager(AdaBelief)
_Lion = eager(Lion)


def build_adamw(config: AdamWConfig, groups: Groups) -> Optimizer:
    """AdamW with torch's fused step."""
    return _AdamW(groups, lr=config.lr, betas=config.betas, eps=config.eps, fused=True)


def build_adabelief(config: AdaBeliefConfig, groups: Groups) -> Optimizer:
    """The authors' AdaBelief with decoupled decay; what it prints when made is dropped."""
    with redirect_stdout(io.StringIO()):
        optimizer: Optimizer = _AdaBelief(
            groups,
            lr=config.lr,
            betas=config.betas,
            eps=config.eps,
            rectify=config.rectify,
            weight_decouple=True,
            print_change_log=False,
        )
    return optimizer


def build_lion(config: LionConfig, groups: Groups) -> Optimizer:
    """Lion, all parameters at once."""
    return _Lion(groups, lr=config.lr, betas=config.betas)


OPTIMIZERS: Mapping[str, Callable[[Any, Groups], Optimizer]] = MappingProxyType(
    {"adamw": build_adamw, "adabelief": build_adabelief, "lion": build_lion}
)
"""Each kind's builder, called with its configuration and the parameter groups."""


def build_optimizer(config: OptimizerConfig, model: nn.Module) -> Optimizer:
    """The optimiser of a model's trainable parameters; the caller sets each group's `lr`.

    Raises ValueError when the model has nothing to train.
    """
    groups = decay_groups(model, config.weight_decay)
    if not groups:
        raise ValueError(f"{type(model).__name__} has no trainable parameter")
    return OPTIMIZERS[config.kind](config, groups)


def decay_groups(model: nn.Module, weight_decay: float) -> Groups:
    """Matrices with decay; biases, norms and temperatures without. Empty groups are left out."""
    decayed: list[nn.Parameter] = []
    free: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        # Grouped layers hold one bias per feature or horizon: a matrix by shape, a bias by role.
        is_bias = name.rpartition(".")[2].startswith("bias")
        (free if parameter.ndim < 2 or is_bias else decayed).append(parameter)
    groups: Groups = [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": free, "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]
