"""Cache files: headers, damage, versions, atomic writes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import gogooku3.data.writer as writer_module
from gogooku3.data.build import build
from gogooku3.data.header import (
    CHECKSUM_KEY,
    HEADER_KEY,
    DatasetHeader,
    checksum,
    list_datasets,
    read_header,
)
from gogooku3.data.panel import Panel
from gogooku3.data.synth import SyntheticMarket
from gogooku3.errors import (
    DatasetCorruptError,
    DatasetError,
    DatasetNotFoundError,
    DatasetVersionError,
    SourceDataError,
)

OFFSETS = st.integers(0, 2**31 - 1)


def test_the_header_says_what_was_built(header: DatasetHeader, market: SyntheticMarket) -> None:
    again = read_header(header.path)
    assert again == header
    assert header.name == "small"
    assert header.calendar == tuple(market.table["date"].unique().sort())
    assert header.horizons == (1, 5, 10, 20)
    assert header.universe["top"] == 30
    assert header.first_day == 53
    assert header.normalisation == "rank"
    assert header.planted == json.loads(json.dumps(market.planted))
    assert header.quality["source_rows"] == len(market.table)
    assert header.quality["source_stocks"] == 50
    assert header.stocks <= 50
    assert header.size_bytes == header.path.stat().st_size
    with pa.ipc.open_file(pa.OSFile(str(header.path))) as reader:
        assert reader.num_record_batches == 1
        assert reader.get_batch(0).num_rows == header.rows


def test_the_same_table_gives_the_same_fingerprint_and_another_does_not(
    header: DatasetHeader, market: SyntheticMarket, tmp_path: Path
) -> None:
    shuffled = market.table.sample(fraction=1.0, shuffle=True, seed=1)
    same = build(shuffled, name="same", out=tmp_path / "same.arrow", top=30)
    assert same.fingerprint == header.fingerprint
    # A row of a stock that is in the universe, so that the cache holds it.
    busy = market.table["volume"].arg_max()
    one_price = pl.when(pl.int_range(pl.len()) == busy).then(pl.col("close") * 1.01)
    changed = market.table.with_columns(close=one_price.otherwise(pl.col("close")))
    other = build(changed, name="other", out=tmp_path / "other.arrow", top=30)
    assert other.fingerprint != header.fingerprint
    moved = {
        name for name, digest in other.fingerprints.items() if header.fingerprints[name] != digest
    }
    assert {"features.return_1", "return_1d", "targets.5"} <= moved
    # What no close enters is as it was.
    assert not moved & {"features.volume_ratio_1_20", "date", "code", "sector"}


def test_the_source_file_is_named_without_its_folder(
    market: SyntheticMarket, tmp_path: Path
) -> None:
    bars = tmp_path / "bars.parquet"
    market.table.write_parquet(bars)
    found = build(bars, name="t", out=tmp_path / "caches" / "t.arrow")
    assert found.source["file"] == "bars.parquet"
    assert found.source["size"] == bars.stat().st_size
    assert len(found.source["sha256"]) == 64


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.9, 0.999, 0.9999])
def test_a_truncated_file_is_told(header: DatasetHeader, tmp_path: Path, share: float) -> None:
    cut = tmp_path / "cut.arrow"
    cut.write_bytes(header.path.read_bytes()[: int(header.size_bytes * share)])
    for reader in (read_header, Panel.open):
        with pytest.raises(DatasetCorruptError, match=r"cut\.arrow.*(truncated|damaged)"):
            reader(cut)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(part=st.sampled_from(["begin", "end", "any"]), offset=OFFSETS, bit=st.integers(0, 7))
def test_a_flipped_bit_is_found_by_verifying(
    header: DatasetHeader, tmp_path: Path, part: str, offset: int, bit: int
) -> None:
    content = bytearray(header.path.read_bytes())
    # Most flips hit the ends, where the structure lies; the rest anywhere.
    near = offset % 30_000
    position = {"begin": near, "end": -1 - near, "any": offset % len(content)}[part]
    content[position] ^= 1 << bit
    damaged = tmp_path / "damaged.arrow"
    damaged.write_bytes(content)
    try:
        panel = Panel.open(damaged, verify=True)
    except DatasetError:
        return
    # A byte that nothing reads: padding, or the schema's second copy.
    good = Panel.open(header.path)
    assert panel.header.fingerprint == good.header.fingerprint
    found_RF, wanted_RF = panel.features_RF.numpy(), good.features_RF.numpy()
    assert np.array_equal(found_RF, wanted_RF, equal_nan=True)
    assert panel.codes == good.codes


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(flips=st.lists(st.tuples(st.booleans(), OFFSETS, st.integers(0, 7)), min_size=1, max_size=5))
def test_a_damaged_file_that_is_not_verified_is_read_or_refused(
    header: DatasetHeader, tmp_path: Path, flips: list[tuple[bool, int, int]]
) -> None:
    """Every index stays within the file: no crash, and nothing but our own errors."""
    content = bytearray(header.path.read_bytes())
    for is_at_begin, offset, bit in flips:
        content[offset % 30_000 if is_at_begin else -1 - offset % 900_000] ^= 1 << bit
    damaged = tmp_path / "damaged.arrow"
    damaged.write_bytes(content)
    try:
        panel = Panel.open(damaged)
        row_of_TN, universe_TN = panel.row_of_TN, panel.universe_TN
        sector_N = panel.sector_N
    except DatasetError:
        return
    assert row_of_TN.shape == universe_TN.shape == (len(panel.calendar), len(panel.codes))
    assert int(row_of_TN.max()) == header.rows - 1
    assert 0 <= int(sector_N.min()) <= int(sector_N.max()) < panel.sectors


def test_a_changed_value_is_found_only_by_verifying(header: DatasetHeader, tmp_path: Path) -> None:
    panel = Panel.open(header.path)
    value = panel.features_RF[5000].numpy().tobytes()
    content = header.path.read_bytes()
    assert content.count(value) == 1
    changed = tmp_path / "changed.arrow"
    changed.write_bytes(content.replace(value, value[:-1] + bytes([value[-1] ^ 1])))
    Panel.open(changed)
    last = header.feature_names[-1]
    with pytest.raises(DatasetCorruptError, match=rf"fingerprints \(column features\.{last}\)"):
        Panel.open(changed, verify=True)
    Panel.open(header.path, verify=True)


def rewritten(header: DatasetHeader, path: Path, **changes: object) -> Path:
    """The cache with other words in its header, the checksum made good."""
    with pa.ipc.open_file(pa.OSFile(str(header.path))) as reader:
        batch, metadata = reader.get_batch(0), dict(reader.schema.metadata)
    text = json.dumps({**json.loads(metadata[HEADER_KEY]), **changes}).encode()
    batch = batch.replace_schema_metadata({HEADER_KEY: text, CHECKSUM_KEY: checksum(text)})
    with pa.ipc.new_file(str(path), batch.schema) as writer:
        writer.write_batch(batch)
    return path


def test_another_layout_is_refused_by_its_number(header: DatasetHeader, tmp_path: Path) -> None:
    newer = rewritten(header, tmp_path / "newer.arrow", layout_version=99)
    for reader in (read_header, Panel.open):
        with pytest.raises(DatasetVersionError, match=r"layout version 99.*reads 2"):
            reader(newer)


def test_a_header_that_does_not_fit_the_rows_is_refused(
    header: DatasetHeader, tmp_path: Path
) -> None:
    days = [day.isoformat() for day in header.calendar]
    for name, changes in {
        "rows": {"rows": header.rows - 1},
        "stocks": {"stocks": header.stocks + 1},
        "calendar": {"calendar": days[:-1]},
        "order": {"calendar": days[::-1]},
        "horizons": {"horizons": [1, 5]},
    }.items():
        wrong = rewritten(header, tmp_path / f"{name}.arrow", **changes)
        with pytest.raises(DatasetCorruptError, match="cannot be mapped"):
            Panel.open(wrong)


def test_an_arrow_file_of_someone_else_is_refused(tmp_path: Path) -> None:
    foreign = tmp_path / "foreign.arrow"
    pl.DataFrame({"a": [1, 2]}).write_ipc(foreign)
    with pytest.raises(DatasetCorruptError, match="not a gogooku3 dataset"):
        read_header(foreign)


def test_a_missing_file_is_told_apart(tmp_path: Path) -> None:
    with pytest.raises(DatasetNotFoundError, match="data synth"):
        read_header(tmp_path / "none.arrow")


def test_listing_leaves_out_what_cannot_be_read(header: DatasetHeader, tmp_path: Path) -> None:
    shutil.copy(header.path, tmp_path / "b.arrow")
    shutil.copy(header.path, tmp_path / "a.arrow")
    (tmp_path / "broken.arrow").write_bytes(b"ARROW1")
    (tmp_path / "notes.txt").write_text("not a dataset")
    assert [found.name for found in list_datasets(tmp_path)] == ["a", "b"]
    assert list_datasets(tmp_path / "missing") == []


def test_a_failed_write_leaves_the_old_file_and_nothing_else(
    header: DatasetHeader,
    market: SyntheticMarket,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "d.arrow"
    shutil.copy(header.path, out)

    def no_space(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(writer_module.os, "fsync", no_space)
    with pytest.raises(OSError, match="No space left"):
        build(market.table, name="d", out=out)
    assert read_header(out).fingerprint == header.fingerprint
    assert [path.name for path in tmp_path.iterdir()] == ["d.arrow"]


def test_a_market_without_a_universe_is_refused(market: SyntheticMarket, tmp_path: Path) -> None:
    short = market.table.filter(pl.col("date") < market.table["date"].unique().sort()[30])
    with pytest.raises(SourceDataError, match=r"no stock is ever in the universe.*54 of 60"):
        build(short, name="s", out=tmp_path / "s.arrow")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("horizons", [(), (5, 1), (1, 1), (0, 5)])
def test_horizons_must_increase(
    market: SyntheticMarket, tmp_path: Path, horizons: tuple[int, ...]
) -> None:
    with pytest.raises(ValueError, match="horizons"):
        build(market.table, name="h", out=tmp_path / "h.arrow", horizons=horizons)


def test_progress_ends_at_the_whole(market: SyntheticMarket, tmp_path: Path) -> None:
    told: list[float] = []
    build(
        market.table,
        name="p",
        out=tmp_path / "p.arrow",
        progress=lambda stage, done: told.append(done),
    )
    assert told == sorted(told)
    assert told[-1] == 1.0
    assert len(told) > 10


@pytest.mark.parametrize(
    ("modules", "unwanted"),
    [
        (("data.header", "data.splits", "data.inspect"), {"torch", "polars"}),
        (("data.build", "data.synth"), {"torch"}),
        (("data.batches", "graph"), {"polars"}),
    ],
)
def test_imports_stay_light(modules: tuple[str, ...], unwanted: set[str]) -> None:
    names = ", ".join(f"gogooku3.{module}" for module in modules)
    code = f"import sys, {names}; print(*({unwanted!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
