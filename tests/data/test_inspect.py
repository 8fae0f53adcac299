"""What is shown of a dataset is what is in it."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
import torch

from gogooku3.config.source import SourceSpec
from gogooku3.data.build import build
from gogooku3.data.header import DatasetHeader
from gogooku3.data.inspect import describe, profile
from gogooku3.data.panel import Panel
from gogooku3.data.synth import SyntheticMarket
from gogooku3.errors import DatasetCorruptError, DatasetNotFoundError


def test_the_description_counts_what_is_there(header: DatasetHeader, panel: Panel) -> None:
    told = json.loads(json.dumps(describe(header.path), allow_nan=False))
    assert told == json.loads(json.dumps(describe(header)))
    assert told["rows"] == header.rows
    assert told["days"] == 220
    assert told["stocks"] == len(panel.codes)
    assert told["sectors"] == panel.sectors - 1
    assert told["fingerprint"] == header.fingerprint
    sizes = panel.universe_TN.sum(1)[53:]
    assert told["universe"]["size"] == {"min": int(sizes.min()), "max": int(sizes.max())}
    assert told["universe"]["mean_size"] == pytest.approx(float(sizes.float().mean()))
    assert told["planted"]["rank_ic"]["1"] == header.planted["rank_ic"]["1"]  # type: ignore[index]
    row_U = panel.row_of_TN[panel.universe_TN].long()
    for place, horizon in enumerate(header.horizons):
        known = torch.isfinite(panel.targets_RK[row_U, place]).float().mean()
        assert told["targets"][str(horizon)]["known_share"] == pytest.approx(float(known))


def test_features_are_shown_with_quantiles_and_missing_values(header: DatasetHeader) -> None:
    features = {row["name"]: row for row in describe(header)["features"]}
    assert list(features) == list(header.feature_names)
    median = features["return_1"]["quantiles"]["0.5"]
    assert abs(median) < 0.1
    assert 1.5 < features["return_1"]["quantiles"]["0.99"] < 1.74
    # 120 of 220 days have no 120-day return; universe days start with day 53.
    assert features["return_120"]["missing_share"] == pytest.approx((120 - 53) / 167, abs=0.05)
    assert features["return_1"]["missing_share"] < 0.01


def test_verifying_reads_every_byte(header: DatasetHeader, tmp_path: Path) -> None:
    assert describe(header, verify=True)["verified"] is True
    content = bytearray(header.path.read_bytes())
    content[len(content) // 2] ^= 255
    damaged = tmp_path / "damaged.arrow"
    damaged.write_bytes(content)
    assert describe(damaged)["verified"] is False
    with pytest.raises(DatasetCorruptError, match="fingerprint"):
        describe(damaged, verify=True)
    with pytest.raises(DatasetNotFoundError):
        describe(tmp_path / "none.arrow")


def test_a_market_without_sectors_has_no_sector_features(
    market: SyntheticMarket, tmp_path: Path
) -> None:
    plain = market.table.drop("sector33", "sector17")
    told = describe(build(plain, name="p", out=tmp_path / "p.arrow"))
    assert told["sectors"] == 0
    names = [row["name"] for row in told["features"]]
    assert names
    assert not [name for name in names if name.startswith("sector")]
    assert int(Panel.open(tmp_path / "p.arrow").sector_N.max()) == 0


def test_the_profile_s_rank_ic_is_spearman_s(header: DatasetHeader, panel: Panel) -> None:
    rows = {row["name"]: row for row in profile(header.path)}
    assert list(rows) == list(header.feature_names)
    frame = pl.read_ipc(header.path).filter("universe")
    for name, horizon in (("return_5", 5), ("volatility_20", 1), ("sector_return_1", 20)):
        place, column = panel.columns_of([name])[0], panel.horizons_of([horizon])[0]
        pair = frame.select(
            "date",
            x=pl.col("features").arr.get(place).cast(pl.Float64),
            y=pl.col("targets").arr.get(column).cast(pl.Float64),
        ).filter(pl.col("y").is_not_nan())
        by_day = pair.group_by("date").agg(ic=pl.corr("x", "y", method="spearman"))
        wanted = by_day.filter(pl.col("ic").is_not_nan())["ic"].mean()
        assert rows[name]["rank_ic"][str(horizon)] == pytest.approx(wanted, abs=1e-9)
        middle = frame["features"].arr.get(place).median()
        assert rows[name]["p50"] == pytest.approx(middle, abs=0.01)


def test_a_profile_of_some_days_has_no_ic_for_market_features(
    market: SyntheticMarket, tmp_path: Path
) -> None:
    spec = SourceSpec.model_validate({"features": [{"column": "day", "role": "market"}, "close"]})
    table = market.table.with_columns(day=pl.col("date").rank("dense"))
    header = build(table, name="m", out=tmp_path / "m.arrow", spec=spec)
    day, close = json.loads(json.dumps(profile(header.path, days=10), allow_nan=False))
    assert set(day["rank_ic"].values()) == {None}
    assert (day["p01"], day["p99"]) > (50.0, 200.0)
    assert all(abs(ic) < 0.5 for ic in close["rank_ic"].values())
