"""`gogooku3 data`: datasets are made, described and refused with a reason."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gogooku3.data.synth import synthesise

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
