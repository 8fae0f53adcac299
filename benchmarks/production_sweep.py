"""The production search, scaled to this machine: run whole, and checked from inside its trainers.

    python -m benchmarks.production_sweep                        # on the synthetic market
    python -m benchmarks.production_sweep --bars BARS.parquet    # on daily bars

`examples/sweep_cpu.json` on an API process and a worker of two slots with warm trainers. So that
a few minutes of two cores are enough, the look-back is 5 days, a step holds 16 of them, training
is a year and validation half a year of days, and there are 12 features. Then:

1. Every trial's checkpoint, whose manifest its trainer wrote: the configuration that was trained
   is what was suggested, and the weights have the shapes of it.
2. The best trial's configuration as a job of its own: the same validation metric.
3. The same search without a pruner (unless --pruned-only): how many epochs asha saved.
4. From the recorded end of a run to the first line of the next trainer in its slot.
5. While two trials ran: how much of the dataset each had mapped, and what both have of it together.

Ends with an error when 1 or 2 does not hold.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
from sqlalchemy import select

from app.db import Attempt, Database, Job
from benchmarks.cluster import Cluster
from gogooku3.client import BestTrial, Client, Sweep, Trial
from gogooku3.config.paths import value_at
from gogooku3.data.build import build
from gogooku3.data.synth import synthesise
from gogooku3.training.checkpoint import read_checkpoint

EXAMPLE = Path(__file__).parents[1] / "examples" / "sweep_cpu.json"
METRIC = "valid/rank_ic"
FEATURES = (
    "return_1",
    "return_5",
    "return_20",
    "close_location_1",
    "range_1",
    "volatility_20",
    "turnover_20",
    "volume_ratio_1_20",
    "residual_return_1",
    "residual_volatility_60",
    "sector_relative_5",
    "illiquidity_20",
)
SYNTHETIC_SPLIT = ("2019-07-01", "2020-06-30", "2020-12-31")
BARS_SPLIT = ("2016-07-01", "2017-06-30", "2018-01-31")
"""First and last day of training, last of validation."""


def main() -> int:
    """Run it and print Markdown."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bars", type=Path, help="daily bars; default: a synthetic market")
    parser.add_argument("--top", type=int, default=100, help="universe of each day, of bars")
    parser.add_argument("--stocks", type=int, default=100, help="of the synthetic market")
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--pruned-only", action="store_true", help="leave out the second sweep")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="gk3-production-") as folder:
        home = Path(folder)
        home.chmod(0o755)
        make_dataset(home, given.bars, given.top, given.stocks)
        spec = scaled(BARS_SPLIT if given.bars else SYNTHETIC_SPLIT)
        spec["n_trials"] = given.trials
        spec["config"]["max_epochs"] = given.epochs
        with Cluster(home, slots=2) as cluster, Client(cluster.urls[0]) as client:
            pruned = run(cluster, client, spec)
            is_right = told_and_trained(client, pruned, Path(folder)) and again(client, pruned)
            print_gaps(cluster)
            print_memory(cluster, pruned)
            if not given.pruned_only:
                free = run(cluster, client, spec | {"pruner": {"kind": "none"}})
                print_saved(pruned, free)
    return 0 if is_right else 1


def make_dataset(home: Path, bars: Path | None, top: int, stocks: int) -> None:
    """The dataset `market` in the home: of bars, the most traded stocks around the split."""
    if bars is None:
        (home / "caches").mkdir()
        market = synthesise(stocks=stocks, days=900, seed=0)
        build(market.table, name="market", out=home / "caches" / "market.arrow")
        return
    first, last = (date.fromisoformat(day) for day in (BARS_SPLIT[0], BARS_SPLIT[2]))
    table = pl.scan_parquet(bars).filter(
        pl.col("date").is_between(first - timedelta(days=400), last + timedelta(days=60))
    )
    # Chosen by what was known before the first day of training.
    known = table.filter(pl.col("date") < first)
    traded = (pl.col("close") * pl.col("volume")).sum()
    codes = known.group_by("code").agg(traded.alias("traded")).top_k(2 * top, by="traded")
    table.join(codes.select("code"), on="code", how="semi").sink_parquet(home / "bars.parquet")
    command = Path(sys.executable).with_name("gogooku3")
    subprocess.run(
        (command, "data", "build", home / "bars.parquet", "--name", "market", "--top", str(top)),
        env=os.environ | {"GOGOOKU3_HOME": str(home)},
        check=True,
    )


def scaled(split: tuple[str, str, str]) -> dict[str, Any]:
    """The example on the dataset, small enough for this machine."""
    spec: dict[str, Any] = json.loads(EXAMPLE.read_text())
    spec["dataset"] = "market"
    data = spec["config"]["data"]
    data["lookback"] = 5
    data["split"] = dict(zip(("train_start", "train_end", "valid_end"), split, strict=True))
    data["split"]["embargo_days"] = 5
    data["features"] = list(FEATURES)
    spec["config"]["batch"]["days_per_step"] = 16
    return spec


@dataclass
class Done:
    """A sweep that has ended, and what was seen while it ran."""

    sweep: Sweep
    trials: list[Trial]
    best: BestTrial
    took_s: float
    load: float
    mapped: list[list[tuple[float, float]]] = field(default_factory=list)
    """At each look at which two trainers had the dataset mapped: resident and proportional MB of
    the mapping, of each."""

    @property
    def epochs(self) -> int:
        """Of all trials."""
        return sum(trial.epochs for trial in self.trials)


def run(cluster: Cluster, client: Client, spec: dict[str, Any]) -> Done:
    """A whole sweep."""
    began = time.monotonic()
    sweep = client.sweeps.create(spec)
    mapped = []
    while not sweep.is_finished:
        found = [part for pid in cluster.trainers() if (part := mapping(pid)) is not None]
        if len(found) == 2:
            mapped.append(found)
        time.sleep(1.0)
        sweep = client.sweeps.get(sweep.id)
    took_s = time.monotonic() - began
    if sweep.state != "succeeded":
        raise SystemExit(f"{sweep.id} {sweep.state}: {sweep.reason}")
    trials = list(client.sweeps.trials(sweep.id))
    best = client.sweeps.best(sweep.id)
    done = Done(sweep, trials, best, took_s, os.getloadavg()[0], mapped)
    pruner = (sweep.config or {})["pruner"]["kind"]
    print(
        f"\n### pruner {pruner}: {took_s:.0f} s, load {done.load:.1f}\n\n"
        f"{sweep.counts}; {done.epochs} epochs; best {METRIC} {best.value:.4f}, trial "
        f"{best.number}, epoch {best.epoch}\n\n| trial | state | {METRIC} | epochs | chosen |\n"
        "|---|---|---|---|---|"
    )
    for trial in trials:
        value = "" if trial.value is None else f"{trial.value:.4f}"
        chosen = ", ".join(f"{k.split('.')[-1]} {_short(v)}" for k, v in trial.params.items())
        print(f"| {trial.number} | {trial.state} | {value} | {trial.epochs} | {chosen} |")
    return done


def mapping(pid: int) -> tuple[float, float] | None:
    """Resident and proportional MB that a process has of the dataset, or None if it is not
    mapped."""
    found = {"Rss": 0, "Pss": 0}
    is_dataset = is_seen = False
    try:
        for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
            name, _, rest = line.partition(":")
            if "-" in name.split()[0]:  # the head of a mapping
                is_dataset = line.endswith("market.arrow")
                is_seen |= is_dataset
            elif is_dataset and name in found:
                found[name] += int(rest.split()[0])
    except (OSError, IndexError):
        return None  # it has just ended
    return (found["Rss"] / 1e3, found["Pss"] / 1e3) if is_seen and found["Rss"] else None


def told_and_trained(client: Client, done: Done, folder: Path) -> bool:
    """1: whether each trainer's own record is what was suggested."""
    wrong, checked = [], 0
    for trial in done.trials:
        if trial.state not in {"succeeded", "pruned"}:
            continue
        path = client.jobs.best_checkpoint(trial.job_id, folder / f"trial-{trial.number}.gk3")
        manifest, weights = read_checkpoint(path)
        config = manifest.config.model_dump(mode="json")
        for name, value in trial.params.items():
            if value_at(config, name) != value:
                wrong.append(f"trial {trial.number}: {name} {value_at(config, name)}, not {value}")
        layers = {name.split(".")[2] for name in weights if name.startswith("graph.layers.")}
        if len(layers) != trial.params["model.gat.layers"]:
            wrong.append(f"trial {trial.number}: {len(layers)} graph layers have weights")
        width = weights["sector.weight"].shape[1]
        if width != trial.params["model.hidden_size"]:
            wrong.append(f"trial {trial.number}: its weights are {width} wide")
        path.unlink()
        checked += 1
    parameters = len(done.trials[0].params)
    print(
        f"\n{checked} checkpoints of {len(done.trials)} trials, {parameters} parameters each: "
        f"{len(wrong)} differ from what was suggested"
    )
    print("\n".join(wrong))
    return not wrong and checked > 0


def again(client: Client, done: Done) -> bool:
    """2: whether the best trial's configuration gives the same metric by itself."""
    first = client.jobs.get(done.best.job_id)
    assert first.config is not None
    body = {"dataset": "market", "config": first.config, "resources": {"cpu_threads": 1}}
    second = client.jobs.wait(client.jobs.create(body).id)
    values = [job.best and job.best["metrics"][METRIC] for job in (first, second)]
    print(f"\nbest trial {values[0]!r}, by itself {values[1]!r}: equal {values[0] == values[1]}")
    return values[0] is not None and values[0] == values[1]


def print_gaps(cluster: Cluster) -> None:
    """4: between runs in the same slot, for those whose trainer was warm and for the others."""
    database = Database(cluster.database_url)
    with database.session() as session:
        attempts = session.execute(
            select(Attempt.slots, Attempt.started_at, Attempt.ended_at, Attempt.job_id)
            .join(Job, Job.id == Attempt.job_id)
            .where(Job.sweep_id.is_not(None))
            .order_by(Attempt.started_at)
        ).all()
    database.dispose()
    ends: dict[str, datetime] = {}
    gaps: dict[str, list[float]] = {"warm": [], "cold": []}
    for slots, _, ended, job_id in attempts:
        line = first_line(cluster.home / "artifacts" / job_id / "log.txt")
        if line is not None and str(slots) in ends:
            kind = "warm" if "torch loaded" in line else "cold"
            gaps[kind].append((_time_of(line) - ends[str(slots)]).total_seconds())
        ends[str(slots)] = ended
    for kind, found in gaps.items():
        if found:
            print(
                f"\nend of a run -> first line of the next, {kind} trainer: {len(found)} times, "
                f"p50 {statistics.median(found) * 1e3:.0f} ms, max {max(found) * 1e3:.0f} ms"
            )


def first_line(log: Path) -> str | None:
    """The first line of the trainer's own; the worker's begin with ===."""
    lines = log.read_text().splitlines() if log.exists() else []
    return next((line for line in lines if " begins" in line and line[:3] != "==="), None)


def _time_of(line: str) -> datetime:
    return datetime.strptime(line[:23], "%Y-%m-%d %H:%M:%S,%f").astimezone()


def print_memory(cluster: Cluster, done: Done) -> None:
    """5: one copy of the dataset for two trainers."""
    size = (cluster.home / "caches" / "market.arrow").stat().st_size / 1e6
    if not done.mapped:
        print("\ntwo trainers never had the dataset mapped at the same time")
        return
    most = max(done.mapped, key=lambda found: sum(rss for rss, _ in found))
    print(
        f"\ndataset {size:.0f} MB; two trainers have {most[0][0]:.0f} and {most[1][0]:.0f} MB "
        f"of it mapped, which are {sum(pss for _, pss in most):.0f} MB of memory together"
    )


def print_saved(pruned: Done, free: Done) -> None:
    """3: epochs run with and without a pruner."""
    print("\n| pruner | epochs | seconds | best |\n|---|---|---|---|")
    for name, one in (("asha", pruned), ("none", free)):
        print(f"| {name} | {one.epochs} | {one.took_s:.0f} | {one.best.value:.4f} |")
    print(f"\nsaved: {1 - pruned.epochs / free.epochs:.0%} of the epochs")


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    sys.exit(main())
