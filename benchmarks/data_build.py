"""Building datasets at full scale: rows per second and peak memory, beside Polars' plain rewriting.

    python benchmarks/data_build.py --bars BARS.parquet     # the built-in features of daily bars
    python benchmarks/data_build.py --ready-rows 8900000    # 112 ready-made features, simulated

Each build runs in a process of its own, whose peak resident memory Linux counts, pages of mapped
files included. The peer is Polars streaming the same Parquet file into an Arrow file, column for
column, with nothing computed: what reading and writing alone cost.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

FEATURES = 112
STOCKS = 4_484
BUILD = """
import json, sys, time
from pathlib import Path
from gogooku3.config.source import SourceSpec
from gogooku3.data.build import build
table, out, spec, options = sys.argv[1:]
spec = SourceSpec.model_validate_json(spec)
began = time.perf_counter()
header = build(Path(table), name="measured", out=Path(out), spec=spec, **json.loads(options))
seconds = time.perf_counter() - began
rows, features = header.quality["source_rows"], len(header.features)
"""
COPY = """
import json, sys, time
import polars as pl
began = time.perf_counter()
pl.scan_parquet(sys.argv[1]).sink_ipc(sys.argv[2])
seconds = time.perf_counter() - began
frame = pl.scan_ipc(sys.argv[2])
rows, features = frame.select(pl.len()).collect().item(), len(frame.collect_schema())
"""
REPORT = """
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(json.dumps([seconds, int(peak.split()[1]) / 1e6, rows, features]))
"""


def simulate(path: Path, rows: int) -> None:
    """Write a table of so many rows: a close, and ready-made features of random numbers."""
    rng = np.random.default_rng(0)
    days = -(-rows // STOCKS)
    codes = pa.array([f"{1300 + stock}" for stock in range(STOCKS)])
    calendar = pl.date_range(pl.date(2015, 1, 5), pl.date(2040, 1, 1), "1d", eager=True)
    close_N = np.full(STOCKS, 1000.0)
    schema = pa.schema(
        [("date", pa.date32()), ("code", pa.string()), ("close", pa.float32())]
        + [(f"x{place:03d}", pa.float32()) for place in range(FEATURES)]
    )
    with pq.ParquetWriter(path, schema, compression="NONE") as writer:
        for first in range(0, days, 20):
            blocks = []
            for day in range(first, min(first + 20, days)):
                close_N = close_N * np.exp(0.02 * rng.standard_normal(STOCKS))
                columns = rng.standard_normal((FEATURES, STOCKS), dtype=np.float32)
                when = pa.array([calendar[day]] * STOCKS, pa.date32())
                close = pa.array(close_N.astype(np.float32))
                blocks.append(pa.record_batch([when, codes, close, *columns], schema=schema))
            writer.write_table(pa.Table.from_batches(blocks).combine_chunks())


def measured(code: str, *arguments: str) -> tuple[float, float, int, int]:
    """Seconds, peak GB, rows and columns of a piece of code in its own process."""
    command = [sys.executable, "-c", code + REPORT, *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    seconds, peak, rows, features = json.loads(done.stdout)
    return seconds, peak, rows, features


def main() -> None:
    """Build, rewrite, and print Markdown."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--bars", type=Path, help="a Parquet file of daily bars")
    what.add_argument("--ready-rows", type=int, metavar="N", help="simulate so many rows")
    parser.add_argument("--top", type=int, help="size of the universe; default: everyone")
    parser.add_argument("--storage", choices=("float32", "float16"), default="float32")
    parser.add_argument("--normalisation", default="rank")
    parser.add_argument("--folder", type=Path, help="where to work; needs about 5x the dataset")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        table, spec = given.bars, {}
        if table is None:
            table = Path(folder) / "ready.parquet"
            simulate(table, given.ready_rows)
            spec = {"features": ["x*"]}
        options = {name: getattr(given, name) for name in ("top", "storage", "normalisation")}
        out = Path(folder) / "measured.arrow"
        build = measured(BUILD, str(table), str(out), json.dumps(spec), json.dumps(options))
        size = out.stat().st_size / 1e9
        out.unlink()
        copy = measured(COPY, str(table), str(out))
    name = f"`build` ({given.normalisation}, {given.storage}, {size:.1f} GB)"
    print(
        "| what | rows | columns | seconds | rows/s | peak resident, GB |\n"
        "|---|---|---|---|---|---|"
    )
    for label, (seconds, peak, rows, columns) in ((name, build), ("Polars, plain rewriting", copy)):
        rate = rows / seconds
        print(f"| {label} | {rows:,} | {columns} | {seconds:.1f} | {rate:,.0f} | {peak:.2f} |")
    print(f"\nbuild / rewriting = {build[0] / copy[0]:.1f}")


if __name__ == "__main__":
    main()
