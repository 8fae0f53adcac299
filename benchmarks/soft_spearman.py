"""The soft Spearman loss on a grid beside the full matrix of pairwise sigmoids.

    python benchmarks/soft_spearman.py

One day of stocks, forward and backward with the correlation; taking turns in one process.
"""

from __future__ import annotations

import argparse

import torch
from paired import take_turns
from torch import Tensor

from gogooku3.losses import moments
from gogooku3.losses.ranks import average_ranks, soft_ranks


def pairwise_ranks(score: Tensor, temperature: float) -> Tensor:
    """Share of the stocks that each score beats, N^2 comparisons."""
    z = (score - score.mean()) / score.std(correction=0)
    return torch.sigmoid((z[:, None] - z) / temperature).mean(1)


def main() -> None:
    """Measure and print Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stocks", type=int, default=4000)
    parser.add_argument("--temperature", type=float, default=0.05)
    parser.add_argument("--bins", type=int, default=512)
    parser.add_argument("--turns", type=int, default=12)
    parser.add_argument("--draws", type=int, default=10)
    given = parser.parse_args()
    torch.manual_seed(0)
    valid = torch.ones(1, 1, given.stocks, dtype=torch.bool)

    def draw() -> tuple[Tensor, Tensor]:
        target = torch.randn(given.stocks)
        score = (0.05 * target + torch.randn(given.stocks)).requires_grad_()
        return score, average_ranks(target[None, None], valid)

    def on_grid(score: Tensor, goal: Tensor) -> Tensor:
        ranks = soft_ranks(score[None, None], valid, temperature=given.temperature, bins=given.bins)
        return moments.correlation(ranks, goal, valid).sum()

    def by_pairs(score: Tensor, goal: Tensor) -> Tensor:
        ranks = pairwise_ranks(score, given.temperature)
        return moments.correlation(ranks[None, None], goal, valid).sum()

    errors, exact_errors, angles = [], [], []
    for _ in range(given.draws):
        score, goal = draw()
        values = [way(score, goal) for way in (on_grid, by_pairs)]
        gradients = [torch.autograd.grad(value, score)[0] for value in values]
        errors.append((values[0] - values[1]).abs().item())
        hard = average_ranks(score.detach()[None, None], valid)
        exact_errors.append((values[0] - moments.correlation(hard, goal, valid)).abs().item())
        angles.append(torch.cosine_similarity(*gradients, dim=0).item())
    score, goal = draw()
    found = take_turns(
        lambda: on_grid(score, goal).backward(),
        lambda: by_pairs(score, goal).backward(),
        given.turns,
    )
    print(
        f"{given.stocks} stocks, temperature {given.temperature}, {given.bins} bins, "
        f"{torch.get_num_threads()} threads, {given.turns} turns\n"
    )
    print("| forward + backward | N^2 pairs, ms | grid, ms | ratio |\n|---|---|---|---|")
    print(found.row("soft Spearman"))
    mean = sum(errors) / len(errors)
    print(
        f"\nOver {given.draws} draws: |grid - pairs| {mean:.1e} in the mean, {max(errors):.1e} at "
        f"most; |grid - exact Spearman| {sum(exact_errors) / len(errors):.1e}, at most "
        f"{max(exact_errors):.1e}; cosine of the gradients {min(angles):.6f} at least"
    )


if __name__ == "__main__":
    main()
