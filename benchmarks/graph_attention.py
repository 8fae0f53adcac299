"""A layer of graph attention, forward and backward, beside torch-geometric's GATv2Conv.

    python benchmarks/graph_attention.py

The same weights, the same graph of fixed-size lists, the same result; both include their linear
maps. Taking turns in one process; the ratio is the median of the pairs' ratios.
"""

from __future__ import annotations

import argparse
import warnings

import torch
from paired import take_turns

from gogooku3.nn.graph_attention import Edges, GraphAttention

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    from torch_geometric.nn import GATv2Conv

EDGE_FEATURES = 4


def main() -> None:
    """Measure and print Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stocks", type=int, default=4000)
    parser.add_argument("--neighbours", type=int, default=20)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--heads", type=int, default=4)
    parser.add_argument("--turns", type=int, default=12)
    given = parser.parse_args()
    torch.manual_seed(0)
    width, heads = given.width, given.heads
    layer = GraphAttention(
        width=width,
        heads=heads,
        concat=True,
        edge_features=EDGE_FEATURES,
        dropout=0.0,
        temperature=1.0,
    )
    peer = GATv2Conv(
        width, width // heads, heads=heads, edge_dim=EDGE_FEATURES, add_self_loops=False
    )
    with torch.no_grad():
        peer.lin_l.weight.copy_(layer.source.weight)
        peer.lin_l.bias.zero_()
        peer.lin_r.weight.copy_(layer.target.weight)
        peer.lin_r.bias.copy_(layer.target.bias)
        peer.lin_edge.weight.copy_(layer.edge.weight)
        peer.att.copy_(layer.attention_HC[None])
        peer.bias.copy_(layer.bias)
    stocks, neighbours = given.stocks, given.neighbours
    x_ND = torch.randn(stocks, width, requires_grad=True)
    near_NM = torch.randint(0, stocks, (stocks, neighbours))
    edge_NME = torch.randn(stocks, neighbours, EDGE_FEATURES)
    edges = Edges.of(near_NM[None], edge_NME[None])
    target_P = torch.arange(stocks).repeat_interleave(neighbours)
    edges_2P = torch.stack((near_NM.flatten(), target_P))
    probe_ND = torch.randn(stocks, width)

    def ours() -> torch.Tensor:
        out_ND = layer(x_ND[None], edges)[0]
        (out_ND * probe_ND).sum().backward()
        return out_ND

    def theirs() -> torch.Tensor:
        out_ND = peer(x_ND, edges_2P, edge_NME.flatten(0, 1))
        (out_ND * probe_ND).sum().backward()
        return out_ND

    difference = (ours() - theirs()).abs().max().item()
    found = take_turns(ours, theirs, given.turns)
    threads = torch.get_num_threads()
    print(f"{stocks} stocks x {neighbours} neighbours, width {width}, {heads} heads, ", end="")
    print(f"{threads} threads, {given.turns} turns; largest difference {difference:.1e}\n")
    print("| forward + backward | GATv2Conv, ms | ours, ms | ratio |\n|---|---|---|---|")
    print(found.row("one layer"))


if __name__ == "__main__":
    main()
