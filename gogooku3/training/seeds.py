"""Random numbers as a function of the run's seed and the place in it.

No generator lives from one step to the next, so a resumed run has nothing to restore: step 37 of
epoch 4 draws the same numbers however the run got there.
"""

from __future__ import annotations

import hashlib

import torch


def derive(seed: int, purpose: str, *place: int) -> int:
    """A 63-bit seed for one purpose at one place, unrelated to every other one's."""
    text = "/".join([str(seed), purpose, *map(str, place)])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def generator(seed: int, purpose: str, *place: int) -> torch.Generator:
    """A CPU generator seeded by `derive`."""
    return torch.Generator().manual_seed(derive(seed, purpose, *place))
