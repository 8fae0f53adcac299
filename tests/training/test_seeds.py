"""Random numbers belong to a place in the run."""

import torch

from gogooku3.training.seeds import derive, generator


def test_the_same_place_draws_the_same() -> None:
    one = torch.rand(4, generator=generator(7, "stocks", 2, 3))
    assert torch.equal(one, torch.rand(4, generator=generator(7, "stocks", 2, 3)))


def test_every_part_of_the_place_counts() -> None:
    places = [derive(7, "a", 2, 3), derive(8, "a", 2, 3), derive(7, "b", 2, 3)]
    places += [derive(7, "a", 3, 2), derive(7, "a", 23), derive(7, "a")]
    assert len(set(places)) == len(places)
    assert all(0 <= place < 2**63 for place in places)
