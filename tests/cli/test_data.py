"""`gogooku3 data`: datasets are made, described and refused with a reason."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from gogooku3.data.source.checks import CHECKS
from gogooku3.data.synth import synthesise

SOURCES = Path(__file__).parents[2] / "examples" / "sources"
SMALL = ("--stocks", "24", "--days", "160", "--horizons", "1,5")


def test_synth_makes_a_dataset_with_a_known_signal(gogooku3: Any, home: Path) -> None:
    made = gogooku3("data", "synth", "small", *SMALL, "--json")
    assert made.returncode == 0, made.stderr
    described = json.loads(made.stdout)
    assert described["path"] == str(home / "caches" / "small.arrow")
    assert described["days"] == 160
    assert described["horizons"] == [1, 5]
    assert described["planted_rank_ic"]["1"] > 0.05
    inspected = json.loads(gogooku3("data", "inspect", "small", "--json").stdout)
    assert inspected["fingerprint"] == described["fingerprint"]

    again = gogooku3("data", "synth", "small", *SMALL)
    assert again.returncode == 1
    assert "--force" in again.stderr
    graphs = home / "caches" / "small.graphs"
    (graphs / "of another dataset").mkdir(parents=True)
    other = gogooku3("data", "synth", "small", *SMALL, "--seed", "1", "--force", "--json")
    assert json.loads(other.stdout)["fingerprint"] != described["fingerprint"]
    assert not graphs.exists()


def test_build_reads_a_table_and_inspect_shows_it(
    gogooku3: Any, home: Path, tmp_path: Path
) -> None:
    synthesise(stocks=24, days=160, horizons=(1,)).table.write_parquet(tmp_path / "bars.parquet")
    options = ("--name", "built", "--top", "12", "--horizons", "1,5", "--normalisation", "zscore")
    built = gogooku3("data", "build", tmp_path / "bars.parquet", *options)
    assert built.returncode == 0, built.stderr
    assert built.stdout.startswith("built: ")
    assert "planted" not in built.stdout
    shown = gogooku3("data", "inspect", home / "caches" / "built.arrow").stdout
    fields = dict(line.split("\t", 1) for line in shown.splitlines() if line.count("\t") == 1)
    assert fields["normalisation"] == "zscore"
    assert fields["universe.top"] == "12"
    assert any(line.startswith("return_1\t") for line in shown.splitlines())


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("data", "synth", "no good", *SMALL), 2, "no name for a dataset"),
        (("data", "synth", "x", "--horizons", "1,zero"), 2, "--horizons"),
        (("data", "synth", "x", "--stocks", "3"), 2, "--stocks"),
        (("data", "build", "absent.parquet", "--name", "x"), 1, "absent.parquet"),
        (("data", "build", "x.parquet", "--name", "some/folder"), 2, "no path of one"),
        (("data", "build", "x.parquet", "--name", "x", "--normalisation", "y"), 2, "rank"),
        (("data", "inspect", "absent"), 1, "data synth"),
    ],
)
def test_what_cannot_be_done_is_one_clear_line(
    gogooku3: Any, arguments: tuple[str, ...], code: int, said: str
) -> None:
    done = gogooku3(*arguments)
    assert done.returncode == code
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_an_unknown_name_is_answered_with_the_nearest(gogooku3: Any) -> None:
    gogooku3("data", "synth", "small", *SMALL)
    assert "did you mean 'small'?" in gogooku3("data", "inspect", "smal").stderr
    assert "there are: small" in gogooku3("data", "inspect", "zzz").stderr


def test_validate_tells_what_is_wrong_and_how_it_ends(gogooku3: Any, tmp_path: Path) -> None:
    table = synthesise(stocks=24, days=160, horizons=(1,)).table
    good, odd, bad = (tmp_path / f"{name}.parquet" for name in ("good", "odd", "bad"))
    table.write_parquet(good)
    table.with_columns(open=pl.lit(0.0), low=pl.lit(None, pl.Float64)).write_parquet(odd)
    pl.concat([table, table.head(2)]).write_parquet(bad)
    assert gogooku3("data", "validate", good).returncode == 0
    warned = gogooku3("data", "validate", odd)
    assert warned.returncode == 0, warned.stderr
    assert "null_column\twarning\t1\t" in warned.stdout
    assert "zero_price\twarning\t" in warned.stdout
    refused = gogooku3("data", "validate", bad)
    assert refused.returncode == 1
    assert "duplicate\terror\t4\t" in refused.stdout
    assert "cannot be used" in refused.stderr
    told = json.loads(gogooku3("data", "validate", bad, "--json").stdout)
    assert (told["ok"], told["report"][0]["check"]) == (False, "duplicate")
    absent = gogooku3("data", "validate")
    assert (absent.returncode, "name a TABLE" in absent.stderr) == (2, True)


def test_the_examples_of_sources_build(gogooku3: Any, home: Path, tmp_path: Path) -> None:
    shutil.copytree(SOURCES, tmp_path, dirs_exist_ok=True)
    table = synthesise(stocks=60, days=160, horizons=(1,)).table.sort("code", "date")
    # Shifting rows is shifting days only where no day is missing.
    table = table.filter(pl.len().over("code") == 160)
    names = {"date": "Date", "code": "Ticker", "open": "O", "high": "H", "low": "L"}
    names |= {"close": "AdjClose", "volume": "Shares", "sector33": "Industry"}
    table.rename(names).write_csv(tmp_path / "bars.csv")
    close = pl.col("close")
    ahead = {days: (close.shift(-days) / close - 1).over("code") for days in (1, 5)}
    table.with_columns(
        market_level=pl.col("date").rank("dense"),
        is_large=(pl.col("volume") > 1000).cast(pl.Int8),
        returns_1d=close.pct_change().over("code"),
        rsi_14=close.rolling_std(14).over("code"),
        returns_next_1d=ahead[1],
        returns_next_5d=ahead[5],
    ).rename({"code": "Code"}).write_parquet(tmp_path / "features.parquet")
    for name, features in (("renamed", 112), ("ready_features", 4)):
        spec = tmp_path / f"{name}.yaml"
        built = gogooku3("data", "build", "--spec", spec, "--name", name, "--json")
        assert built.returncode == 0, built.stderr
        assert json.loads(built.stdout)["features"] == features
    checked = gogooku3("data", "inspect", "ready_features", "--verify", "--profile", "--json")
    shown = json.loads(checked.stdout)
    found = [row["name"] for row in shown["profile"]]
    assert found == ["market_level", "is_large", "returns_1d", "rsi"]
    assert shown["horizons"] == [1, 5]
    for row in shown["targets_against_prices"]:
        assert row["mismatched"] == row["invented"] == 0 < row["compared"]
    chosen = ("--features", "return_5,market_return_1", "--storage", "float16")
    options = ("--spec", tmp_path / "renamed.yaml", "--normalisation", "rank_gauss", *chosen)
    some = gogooku3("data", "build", tmp_path / "bars.csv", "--name", "some", *options, "--json")
    assert json.loads(some.stdout)["features"] == 2, some.stderr


def test_the_page_of_sources_lists_every_check() -> None:
    page = (SOURCES.parents[1] / "docs" / "sources.md").read_text()
    for name, check in CHECKS.items():
        assert f"| `{name}` | {check.severity} | {check.unit} | {check.meaning} |" in page


def test_fetching_without_a_key_says_how_to_give_one(gogooku3: Any, tmp_path: Path) -> None:
    nobody = {"HOME": str(tmp_path), "JQUANTS_API_KEY": ""}
    refused = gogooku3("data", "fetch", "jquants", tmp_path, "--start", "2024-01-04", **nobody)
    assert refused.returncode == 1
    assert "JQUANTS_API_KEY" in refused.stderr
    assert "Traceback" not in refused.stderr
    turned = ("--start", "2024-01-04", "--end", "2024-01-03")
    refused = gogooku3("data", "fetch", "jquants", tmp_path, *turned, **nobody)
    assert refused.returncode == 2
    assert "lies before" in refused.stderr
