"""How heavy the pages are and how quickly they answer with 1,000 jobs and 1,000 trials.

    python -m benchmarks.pages [--jobs 1000] [--trials 1000]

PostgreSQL, Valkey and an API process of their own. A few jobs and trials are made over HTTP, and
what they learn is recorded through the use-cases of a worker, without training; the rest are copies
of their rows under other names, with other values. Measured in Chromium, five visits each.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import random
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, sync_playwright
from sqlalchemy import insert, select, update
from sqlalchemy.orm import Session

from app.db import Database, Job, MetricPoint, Sweep, Trial
from app.domain import Scope, new_id
from app.jobs import keys
from app.jobs.claim import claim
from app.jobs.finish import finish
from app.jobs.offer import Offer
from app.jobs.outcome import Outcome
from app.jobs.record import record
from app.jobs.workers import register
from app.sweeps.advance import Advancer
from app.sweeps.searches import Searches
from benchmarks.sweep import BASE, servers, sweep_of, wait
from gogooku3.client import Client, UnreachableError
from gogooku3.events import CheckpointEvent, EpochEvent, Event

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
EPOCHS = 10
SEEDS = 20
"""Jobs, and trials, that are really made."""
FILTER = """async (words) => {
    const box = document.querySelector('input[type=search]');
    const count = document.querySelector('.card > header [role=status]');
    const began = performance.now();
    const done = new Promise((resolve) => {
        const watcher = new MutationObserver(() => {
            watcher.disconnect();
            requestAnimationFrame(() => resolve(performance.now() - began));
        });
        watcher.observe(count, {childList: true, characterData: true, subtree: true});
    });
    box.value = words;
    box.dispatchEvent(new Event('input'));
    return done;
}"""


DRAWN = """() => [...document.querySelectorAll('.js-plotly-plot')]
    .filter((one) => one.querySelector('.main-svg')).length"""


def main() -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--trials", type=int, default=1000)
    given = parser.parse_args()
    with servers() as (home, database_url, redis_url):
        database = Database(database_url)
        with database.session() as session:
            _, key = keys.create(session, "benchmark", Scope.ADMIN, requests_per_minute=0)
            worker = register(session, host="benchmark", pid=os.getpid(), slots=1).id
        with api(home, database_url, redis_url, key) as url:
            with Client(url, key) as client:
                spec = sweep_of(SEEDS, name="search", sampler={"kind": "random"})
                sweep_id = client.sweeps.create(spec).id
                searches = Searches(database)
                advancer = Advancer(database, searches, home / "caches", home / "artifacts")
                while not client.sweeps.get(sweep_id).is_finished:
                    advancer.advance(sweep_id)
                    play(database, worker)
                searches.close()
                for _ in range(SEEDS):
                    client.jobs.create({"name": "run", "dataset": "tiny", "config": BASE})
                play(database, worker)
            with database.session() as session:
                multiply(session, sweep_id, given.jobs, given.trials)
            measure(url, key, given.jobs, given.trials, sweep_id)
        database.dispose()
    return 0


@contextmanager
def api(home: Path, database_url: str, redis_url: str, key: str) -> Iterator[str]:
    """An API process on a free port."""
    from app.cli.stack import free_port

    port = free_port("127.0.0.1", 0)
    environment = os.environ | {
        "GOGOOKU3_HOME": str(home),
        "GOGOOKU3_DATABASE_URL": database_url,
        "GOGOOKU3_REDIS_URL": redis_url,
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "app.main", "--port", str(port)],
        env=environment,
        stderr=subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}"

    def is_up() -> bool:
        try:
            with Client(url, key, retry_for_s=0) as client:
                return bool(client.version())
        except UnreachableError:
            return False

    try:
        wait(is_up)
        yield url
    finally:
        process.terminate()
        process.wait(30)


def play(database: Database, worker: str) -> None:
    """Take every queued job and tell what it learnt, as a worker does."""
    while True:
        with database.session() as session:
            taken = claim(session, worker_id=worker, lease_s=600.0, offer=Offer(cpu=[0]))
        if taken is None:
            return
        seed = int.from_bytes(taken.job_id.encode()[-4:])
        events: list[Event] = []
        for epoch in range(1, EPOCHS + 1):
            value = (seed % 997) / 10_000 * (1 - math.exp(-epoch / 3))
            metrics = {
                "train/loss": 1.4 - value,
                "valid/loss": 1.5 - value,
                "valid/rank_ic": value,
                "valid/turnover": (seed % 31) / 40,
            }
            events.append(EpochEvent(epoch=epoch, metrics=metrics, duration_s=1.0))
        path = f"{taken.job_id}/epoch-{EPOCHS:04d}.gk3"
        best = {"epoch": EPOCHS, "path": path, "size": 1, "sha256": "0" * 64, "is_best": True}
        events.append(CheckpointEvent.model_validate({**best, "metrics": metrics}))
        with database.session() as session:
            record(session, taken.job_id, taken.attempt, events)
            finish(session, taken.job_id, taken.attempt, outcome=Outcome.SUCCEEDED)


def multiply(session: Session, sweep_id: str, jobs: int, trials: int) -> None:
    """Copy rows until there are so many jobs by hand and so many trials."""
    draw = random.Random(0)
    for where, count in ((Job.sweep_id == sweep_id, trials), (Job.sweep_id.is_(None), jobs)):
        sources = list(session.execute(select(Job.__table__).where(where)).mappings())
        for number, source in zip(range(count), itertools.cycle(sources), strict=False):
            team = "red" if number % 10 else "blue"
            changed = {"name": f"run {number:04d} of team {team}"}
            if source["sweep_id"]:
                changed = {"name": f"search, trial {number}", "trial_number": number}
            if number < len(sources):
                session.execute(
                    update(Job).where(Job.id == source["id"]).values(name=changed["name"])
                )
                continue
            row = {k: v for k, v in source.items() if k != "place"}
            job_id = new_id("job")
            session.execute(insert(Job.__table__), row | changed | {"id": job_id})
            kept = MetricPoint.__table__
            found = session.execute(select(kept).where(kept.c.job_id == source["id"])).mappings()
            session.execute(insert(kept), [dict(point) | {"job_id": job_id} for point in found])
            if source["sweep_id"]:
                copy_trial(session, sweep_id, source["trial_number"], number, job_id, draw)
    session.execute(update(Sweep).where(Sweep.id == sweep_id).values(n_trials=trials))


def copy_trial(
    session: Session, sweep_id: str, source: int, number: int, job_id: str, draw: random.Random
) -> None:
    """A trial like another one, with a rate and a value of its own."""
    table = Trial.__table__
    is_source = (table.c.sweep_id == sweep_id) & (table.c.number == source)
    row = dict(session.execute(select(table).where(is_source)).mappings().one())
    params = row["params"] | {"optimizer.lr": 10 ** draw.uniform(-5, -1)}
    changed = {"number": number, "job_id": job_id, "params": params}
    session.execute(insert(table), row | changed | {"values": [draw.uniform(0, 0.1)]})


def measure(url: str, key: str, jobs: int, trials: int, sweep_id: str) -> None:
    """Weights and times of the two pages that grow."""
    visits = {
        f"jobs page, {jobs} jobs and {trials} trials": ("/", ("blue", "run 000", "red")),
        f"sweep page, {trials} trials": (f"/sweeps/{sweep_id}", ("adabelief", "0.3", "layers 2")),
    }
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        for title, (path, words) in visits.items():
            paints, rows, charts, filters = [], [], [], []
            for _ in range(5):
                context = browser.new_context(viewport={"width": 1360, "height": 900})
                context.add_init_script(
                    f"sessionStorage.setItem('gogooku3.key', {json.dumps(key)})"
                )
                page = context.new_page()
                page.goto(url + path)
                page.locator("tr.row").first.wait_for()
                rows.append(page.evaluate("performance.now()"))
                paint = "performance.getEntriesByName('first-contentful-paint')[0].startTime"
                paints.append(page.evaluate(paint))
                if path != "/":
                    wait(lambda page=page: page.evaluate(DRAWN) >= 5)
                    charts.append(page.evaluate("performance.now()"))
                weight = sizes(page)
                filters += [page.evaluate(FILTER, one) for one in words]
                context.close()
            print(title)
            print(f"  first visit, packed        {weight['encodedBodySize'] / 1000:.0f} kB")
            print(f"  first visit, unpacked      {weight['decodedBodySize'] / 1000:.0f} kB")
            print(f"  first contentful paint     {statistics.median(paints):.0f} ms (target 1000)")
            print(f"  first rows to be seen      {statistics.median(rows):.0f} ms")
            if charts:
                print(f"  five charts drawn          {statistics.median(charts):.0f} ms")
            took = f"{statistics.median(filters):.0f} ms, slowest {max(filters):.0f} ms"
            print(f"  filter, typed to drawn     {took} (target 100)")
        browser.close()


def sizes(page: Page) -> dict[str, Any]:
    """Bytes of the document and its files, without the API's answers."""
    found: dict[str, Any] = page.evaluate(
        """() => {
            const entries = ['navigation', 'resource'].flatMap((kind) =>
                performance.getEntriesByType(kind)).filter((one) => !one.name.includes('/v1/'));
            const sum = (name) => entries.reduce((total, one) => total + one[name], 0);
            return {encodedBodySize: sum('encodedBodySize'),
                    decodedBodySize: sum('decodedBodySize')};
        }"""
    )
    return found


if __name__ == "__main__":
    sys.exit(main())
