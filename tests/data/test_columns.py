"""Columns go to disk one by one and come back as rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import gogooku3.data.columns as columns_module
from gogooku3.data.columns import ColumnFile


@pytest.mark.parametrize("block_bytes", [1, 100, 1 << 20])
def test_rows_are_what_the_columns_were(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block_bytes: int
) -> None:
    monkeypatch.setattr(columns_module, "BLOCK_BYTES", block_bytes)
    x_RF = np.random.default_rng(0).normal(size=(57, 5))
    with ColumnFile(57, "float32", tmp_path) as stored:
        for x_R in x_RF.T:
            stored.append(x_R)
        assert stored.count == 5
        blocks = list(stored.blocks())
        assert stored.placeholder().size == 57 * 5 * 4
    np.testing.assert_array_equal(np.concatenate(blocks), x_RF.astype(np.float32))
    assert all(block_BF.flags.c_contiguous for block_BF in blocks)
    assert (len(blocks) == 1) == (block_bytes == 1 << 20)


def test_nothing_lies_in_the_folder_even_while_it_is_written(tmp_path: Path) -> None:
    with ColumnFile(3, "float32", tmp_path) as stored:
        stored.append(np.ones(3))
        assert not list(tmp_path.iterdir())


def test_a_column_of_another_length_is_refused(tmp_path: Path) -> None:
    with ColumnFile(3, "float32", tmp_path) as stored, pytest.raises(ValueError, match="3 rows"):
        stored.append(np.ones(4))


def test_what_float16_cannot_hold_is_refused(tmp_path: Path) -> None:
    with ColumnFile(2, "float16", tmp_path) as stored:
        stored.append(np.asarray([65504.0, np.nan]))
        with pytest.raises(OverflowError, match="float16 holds numbers up to 65504"):
            stored.append(np.asarray([70000.0, 1.0]))
