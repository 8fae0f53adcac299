"""Neighbours by sector: peers of the fine and of the coarse sector, leaders and their order."""

from __future__ import annotations

import torch

from gogooku3.graph.sectors import coarse_peers, leaders, merged, sector_peers

SECTOR_N = torch.tensor([1, 1, 2, 2, 3, 0, 0])
COARSE_N = torch.tensor([1, 1, 1, 1, 2, 2, 0])
EVERYONE_C = torch.arange(7)
LIQUIDITY_C = torch.tensor([10.0, 40.0, 30.0, 20.0, 5.0, 6.0, 99.0])


def test_unknown_sectors_have_no_peers() -> None:
    sector_N = torch.tensor([0, 0, 1, 1])
    everyone = torch.arange(4)
    place_NM = sector_peers(sector_N, everyone, torch.tensor([4.0, 3.0, 2.0, 1.0]), 2)
    assert place_NM.tolist() == [[-1, -1], [-1, -1], [3, -1], [2, -1]]


def test_a_neighbour_found_twice_is_one_edge() -> None:
    first = torch.tensor([[4, 2, -1], [1, 0, 3]])
    second = torch.tensor([[2, 5], [-1, 3]])
    assert merged(first, second).tolist() == [[4, 2, -1, -1, 5], [1, 0, 3, -1, -1]]


def test_coarse_peers_are_of_other_fine_sectors() -> None:
    place_NM = coarse_peers(SECTOR_N, COARSE_N, EVERYONE_C, LIQUIDITY_C, 2)
    assert place_NM.tolist() == [[2, 3], [2, 3], [1, 0], [1, 0], [5, -1], [4, -1], [-1, -1]]


def test_one_leader_makes_a_tree() -> None:
    place_N1 = leaders(SECTOR_N, COARSE_N, EVERYONE_C, LIQUIDITY_C, 1)
    # Stock 1 leads sector 1 and coarse sector 1; 2 leads sector 2; 5 leads coarse sector 2.
    assert place_N1.squeeze(1).tolist() == [1, 5, 1, 2, 5, 1, -1]


def test_more_leaders_reach_the_other_coarse_sectors_and_none_comes_twice() -> None:
    place_NM = leaders(SECTOR_N, COARSE_N, EVERYONE_C, LIQUIDITY_C, 4)
    assert place_NM.tolist() == [
        [1, 5, -1, -1],
        [5, -1, -1, -1],
        [1, 5, -1, -1],
        [2, 1, 5, -1],
        [5, 1, -1, -1],
        [1, -1, -1, -1],
        [-1, -1, -1, -1],
    ]


def test_leaders_are_candidates() -> None:
    candidate_C = torch.tensor([0, 3, 4])
    place_NM = leaders(SECTOR_N, COARSE_N, candidate_C, torch.tensor([1.0, 2.0, 3.0]), 1)
    # By place: 0 leads sector 1, 1 (stock 3) sector 2 and coarse sector 1, 2 the coarse sector 2.
    assert place_NM.squeeze(1).tolist() == [1, 0, 1, 2, 1, 2, -1]
