"""The leak guard: a feature that holds the label and a split without distance are refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gogooku3.config import TrainConfig
from gogooku3.data.panel import Panel
from gogooku3.data.splits import Split, split_days
from gogooku3.errors import LeakError
from gogooku3.training.leaks import guard
from gogooku3.training.trainer import train

MakeConfig = Callable[..., TrainConfig]


def squared(target_R: np.ndarray) -> np.ndarray:
    """In the order of the target, but far from a line: found by ranks alone."""
    return np.sign(target_R) * np.abs(target_R) ** 5


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("shape", [lambda x: x, squared], ids=["line", "curve"])
def test_a_feature_that_holds_the_label_stops_the_run(
    tmp_path: Path,
    make_config: MakeConfig,
    make_rows: Callable[..., Any],
    make_cache: Callable[[Path, Any], Path],
    shape: Callable[[np.ndarray], np.ndarray],
    sign: float,
) -> None:
    rows = make_rows()
    known = np.isfinite(rows.targets_RK[:, 1])
    rows.features_RF[known, 3] = sign * shape(rows.targets_RK[known, 1])
    cache = make_cache(tmp_path / "leaky.arrow", rows)
    with pytest.raises(LeakError, match=r"'slow'.*next 5 days.*knows the future"):
        train(make_config(), dataset=cache, out_dir=tmp_path, on_event=lambda e: None)
    # A run that does not use it may go on.
    honest = make_config(max_epochs=1, data={"features": ("signal", "noise_a")})
    train(honest, dataset=cache, out_dir=tmp_path, on_event=lambda e: None)


def test_a_strong_but_possible_signal_is_no_leak(tiny: Path, make_config: MakeConfig) -> None:
    panel, data = Panel.open(tiny), make_config().data
    guard(panel, split_days(panel.calendar, data), data)


@pytest.mark.parametrize(("last", "first_valid", "is_clean"), [(40, 46, True), (41, 46, False)])
def test_training_days_keep_the_purge_from_the_days_after(
    tiny: Path, make_config: MakeConfig, last: int, first_valid: int, is_clean: bool
) -> None:
    panel, data = Panel.open(tiny), make_config().data
    split = Split(tuple(range(10, last + 1)), tuple(range(first_valid, 60)), ())
    if is_clean:
        guard(panel, split, data)
    else:
        with pytest.raises(LeakError, match=str(panel.calendar[last])):
            guard(panel, split, data)


@pytest.mark.parametrize(("resumed", "is_clean"), [(38, True), (37, False)])
def test_training_days_keep_the_embargo_from_the_days_before(
    tiny: Path, make_config: MakeConfig, resumed: int, is_clean: bool
) -> None:
    panel, data = Panel.open(tiny), make_config().data  # horizons to 5, embargo 2
    split = Split((*range(10, 15), *range(resumed, 60)), tuple(range(20, 31)), ())
    if is_clean:
        guard(panel, split, data)
    else:
        with pytest.raises(LeakError, match="embargo"):
            guard(panel, split, data)
