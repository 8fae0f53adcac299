"""A large cache: opened, touched for the first time, read warm, and shared by two processes.

    python benchmarks/cache_open.py CACHE.arrow

Every figure comes from one run. "Open" reads the header and indexes the rows; the file's size over
that time is no rate of reading, and is printed only to show what such a number is worth.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from gogooku3.data.header import read_header
from gogooku3.data.panel import Panel

LOOKBACK = 60
REPEATS = 12
HOLD = """
import sys
from pathlib import Path
from gogooku3.data.panel import Panel
panel = Panel.open(Path(sys.argv[1]))
total = 0.0
for start in range(0, len(panel.features_RF), 1 << 16):
    total += float(panel.features_RF[start : start + (1 << 16)].sum())
print("ready", flush=True)
sys.stdin.readline()
"""
"""A process that maps the cache, reads every feature and then waits."""


def seconds(act: Callable[[], object]) -> float:
    """How long it takes, once."""
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


def forget(path: Path) -> None:
    """Ask the kernel to drop the file's cached pages."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def touch(panel: Panel) -> float:
    """Read every feature once."""
    total = 0.0
    for start in range(0, len(panel.features_RF), 1 << 16):
        total += float(panel.features_RF[start : start + (1 << 16)].sum(dtype=torch.float32))
    return total


def touches(path: Path) -> tuple[float, float, float]:
    """Seconds of reading every feature: from the disk, mapped for the first time, and warm. The
    maps end here: pages that this process held too would be shared out to it further below."""
    forget(path)
    cold, fresh = Panel.open(path), Panel.open(path)
    cold_s, first_s = seconds(lambda: touch(cold)), seconds(lambda: touch(fresh))
    return cold_s, first_s, statistics.median(seconds(lambda: touch(fresh)) for _ in range(3))


def first_batch(path: Path) -> None:
    """Open, and gather one full day's windows."""
    panel = Panel.open(path)
    day = len(panel.calendar) - 1
    row_NT = panel.rows_until(day, LOOKBACK, panel.scored_stocks(day))
    panel.features_RF.index_select(0, row_NT.clamp(min=0).reshape(-1))


def memory_kb(path: Path, processes: int) -> list[dict[str, int]]:
    """The memory of each of so many processes that have all read the whole cache, as Linux sums
    up its mappings: Pss counts a page shared by two processes half for each."""
    command = [sys.executable, "-c", HOLD, str(path)]
    children = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(processes)
    ]
    try:
        for child in children:
            assert child.stdout is not None
            if child.stdout.readline() != "ready\n":
                raise SystemExit("a reader of the cache failed")
        return [_rollup(child.pid) for child in children]
    finally:
        for child in children:
            child.communicate("\n")


def _rollup(pid: int) -> dict[str, int]:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    return {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines)}


def main() -> None:
    """Measure one cache and print Markdown."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cache", type=Path, help="a dataset's .arrow file")
    path = parser.parse_args().cache
    header = read_header(path)
    megabytes = path.stat().st_size / 1e6
    open_s = statistics.median(seconds(lambda: Panel.open(path)) for _ in range(REPEATS))
    header_s = statistics.median(seconds(lambda: read_header(path)) for _ in range(REPEATS))
    forget(path)
    cold_batch_s = seconds(lambda: first_batch(path))
    cold_s, first_s, warm_s = touches(path)
    source = np.ones(int(64e6), dtype=np.float32)
    target = np.empty_like(source)
    np.copyto(target, source)
    copy_s = statistics.median(seconds(lambda: np.copyto(target, source)) for _ in range(REPEATS))
    width = np.dtype(header.storage).itemsize * len(header.features)
    features_mb = header.rows * width / 1e6
    print(f"{header.rows:,} rows x {len(header.features)} features, {megabytes:,.0f} MB\n")
    print("| what | seconds | MB/s |\n|---|---|---|")
    print(f"| header | {header_s:.4f} | nothing is read |")
    print(f"| open | {open_s:.4f} | ({megabytes / open_s:,.0f}: not a rate of reading) |")
    print(f"| open + first day's batch, file not in memory | {cold_batch_s:.3f} | |")
    print(f"| every feature, file not in memory | {cold_s:.2f} | {features_mb / cold_s:,.0f} |")
    print(f"| every feature, first touch | {first_s:.2f} | {features_mb / first_s:,.0f} |")
    print(f"| every feature, warm | {warm_s:.2f} | {features_mb / warm_s:,.0f} |")
    print(f"| memcpy of 256 MB (the limit) | {copy_s:.4f} | {256 / copy_s:,.0f} |\n")
    (alone,) = memory_kb(path, 1)
    pair = memory_kb(path, 2)
    total = sum(process["Pss"] for process in pair)
    private = sum(pair[1][name] for name in ("Private_Clean", "Private_Dirty"))
    limit = alone["Pss"] + private
    print("| processes that have read it all | proportional memory, MB |\n|---|---|")
    print(f"| one | {alone['Pss'] / 1e3:,.0f} |\n| two | {total / 1e3:,.0f} |")
    print(f"| one, and the private memory of a second | {limit / 1e3:,.0f} |")
    print(f"\ntwo / (one + private) = {total / limit:.3f}")


if __name__ == "__main__":
    main()
