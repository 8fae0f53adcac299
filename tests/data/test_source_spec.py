"""Source specs: columns by any name, ready-made features and targets, folders."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from gogooku3.config.source import SourceSpec, check_source_spec, read_source_spec
from gogooku3.data.quantities import EXTREME_MOVE
from gogooku3.data.source import examine, read_bars
from gogooku3.data.source.market_checks import SPIKE
from gogooku3.data.universe import UniverseRule, members
from gogooku3.errors import ConfigError, SourceDataError

DAYS = pl.date_range(date(2020, 1, 6), date(2020, 3, 27), "1d", eager=True).to_list()
WEEKDAYS = [day for day in DAYS if day.weekday() < 5]


def table(**changes: list[Any]) -> pl.DataFrame:
    close = [100.0 + place for place in range(len(WEEKDAYS))]
    columns: dict[str, list[Any]] = {
        "Date": WEEKDAYS,
        "Code": ["0050"] * len(WEEKDAYS),
        "Close": close,
        "ret_5": [price / 1000 for price in close],
        "vix": [20.0] * len(WEEKDAYS),
        "fwd_1": [0.01] * len(WEEKDAYS),
    }
    return pl.DataFrame({**columns, **changes})


GIVEN: dict[str, Any] = {
    "columns": {"date": "Date", "code": "Code", "close": "Close"},
    "features": ["*", {"column": "vix", "name": "fear", "role": "market"}],
    "targets": {"1": "fwd_1"},
}


def test_ready_columns_are_read_where_their_rows_lie() -> None:
    bars = read_bars(table().reverse(), check_source_spec(GIVEN))
    assert [(ready.name, ready.role) for ready in bars.ready_features] == [
        ("ret_5", "stock"),
        ("fear", "market"),
    ]
    np.testing.assert_allclose(bars.ready_features[0].read(), bars.close_TN / 1000)
    np.testing.assert_array_equal(bars.ready_targets[1].read(), np.full((len(WEEKDAYS), 1), 0.01))


def test_a_table_with_targets_needs_no_prices() -> None:
    spec = check_source_spec({**GIVEN, "columns": {"date": "Date", "code": "Code"}})
    bars = read_bars(table().drop("Close"), spec)
    assert bars.present_TN.all()
    regular_TN = members(bars, np.full(bars.present_TN.shape, np.nan), UniverseRule(None, 5, 10))
    assert regular_TN[10:].all()
    with pytest.raises(SourceDataError, match="top 3 needs"):
        members(bars, np.full(bars.present_TN.shape, np.nan), UniverseRule(3, 5, 10))


@pytest.mark.parametrize("suffix", ["parquet", "csv", "arrow"])
def test_folders_are_read_as_one_table(tmp_path: Path, suffix: str) -> None:
    wanted = read_bars(table(), check_source_spec(GIVEN))
    write = {"parquet": "write_parquet", "csv": "write_csv", "arrow": "write_ipc"}[suffix]
    for month, part in table().group_by(pl.col("Date").dt.month()):
        folder = tmp_path / "market" / f"month={month[0]}"
        folder.mkdir(parents=True)
        getattr(part, write)(folder / f"part.{suffix}")
    read = read_bars(tmp_path / "market", check_source_spec(GIVEN))
    assert read.codes == ("0050",)
    np.testing.assert_array_equal(read.close_TN, wanted.close_TN)
    np.testing.assert_array_equal(read.ready_features[0].read(), wanted.ready_features[0].read())


def test_every_name_that_is_not_there_is_told_at_once() -> None:
    spec = check_source_spec(
        {
            "columns": {"date": "Date", "code": "Code", "close": "Clos"},
            "features": ["ret_6", "zzz*"],
            "targets": {"1": "fwd_2"},
        }
    )
    with pytest.raises(SourceDataError) as raised:
        read_bars(table(), spec)
    told = str(raised.value)
    assert "columns.close: there is no column 'Clos'; did you mean 'Close'?" in told
    assert "features[0]: there is no column 'ret_6'; did you mean 'ret_5'?" in told
    assert "features[1]: no numeric column" in told
    assert "targets.1: there is no column 'fwd_2'" in told


def test_a_spec_is_read_from_yaml_and_its_faults_are_told_at_once(tmp_path: Path) -> None:
    path = tmp_path / "spec.yaml"
    path.write_text("path: bars.parquet\ntargets: {5: fwd}\nfeatures: [a, 'b*']\n")
    spec = read_source_spec(path)
    assert spec.path == (str(tmp_path / "bars.parquet"),)
    assert spec.targets == {5: "fwd"}
    assert not spec.computes_features
    path.write_text("colums: {}\ntargets: {0: fwd}\nfeatures: [{name: x}]\n")
    with pytest.raises(ConfigError) as raised:
        read_source_spec(path)
    for told in ("did you mean 'columns'?", "/targets/0", "/features/0/column: this field"):
        assert told in str(raised.value)
    with pytest.raises(ConfigError, match=r"column fwd is targets\.5 already"):
        check_source_spec({"targets": {"5": "fwd"}, "features": ["fwd"]})


def test_every_injected_defect_is_reported_at_once() -> None:
    frame = table().rename({"Date": "date", "Code": "code", "Close": "close"})
    close = frame["close"].to_list()
    volume: list[float] = [1.0, 2.0] * (len(close) // 2)
    volume[3], close[5] = -1.0, -2.0
    dirty = frame.with_columns(close=pl.Series(close), volume=pl.Series(volume))
    _, report = examine(pl.concat([dirty, dirty.head(1)]))
    assert {"negative", "not_positive_close", "duplicate"} <= {f.check for f in report}
    with pytest.raises(SourceDataError) as raised:
        read_bars(dirty)
    assert "volume -1.0" in str(raised.value)
    assert "close -2.0" in str(raised.value)


def test_odd_markets_are_read_with_a_report() -> None:
    assert SPIKE == EXTREME_MOVE
    days = len(WEEKDAYS)
    close = [100.0 + place for place in range(days)]
    close[10:20] = [50.0] * 10
    close[30] = 1000.0
    frame = table(Close=close).rename({"Date": "date", "Code": "code", "Close": "close"})
    frame = frame.with_columns(volume=pl.lit(7.0), open=pl.lit(0.0), sector=pl.lit("-"))
    kept = pl.concat([frame[:35], frame[45:]]).reverse()
    report = {finding.check: finding for finding in read_bars(kept, SourceSpec()).report}
    assert set(report) == {
        "spike",
        "stale",
        "zero_price",
        "calendar_hole",
        "unknown_sector",
        "unsorted",
    }
    assert report["calendar_hole"].count == 10
    assert report["stale"].count == 5
    assert report["spike"].examples[-1].startswith(str(WEEKDAYS[31]))
    assert report["unknown_sector"].examples == ("0050",)
