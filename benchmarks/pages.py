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
from collections.abc import Iterator, Sequence
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
VISITS = 5
CHARTS = 2
"""In sight when the sweep's page is opened; the others are drawn when they are scrolled to."""
ALL_CHARTS = 9
"""Of a sweep over seven parameters; its trade-off has nothing to draw from before it is chosen."""
SEEDS = 20
"""Jobs, and trials, that are really made."""
WATCH = """() => {
    window.longest = 0;
    new PerformanceObserver((list) => {
        const took = list.getEntries().map((one) => one.duration);
        window.longest = Math.max(window.longest, ...took);
    }).observe({type: 'longtask', buffered: true});
}"""
"""Every task of the page's thread over 50 ms, for as long as nobody is answered."""
ANSWERED = """() => {
    let began = null;
    addEventListener('%(kind)s', () => (began = performance.now()), {capture: true});
    window.answered = new Promise((resolve) => {
        const look = () => {
            if (began === null || !(%(is_done)s)) return;
            watcher.disconnect();
            // After the frame that shows it: its layout and painting are part of the answer.
            requestAnimationFrame(() => {
                const {port1, port2} = new MessageChannel();
                port1.onmessage = () => resolve(performance.now() - began);
                port2.postMessage(0);
            });
        };
        const watcher = new MutationObserver(look);
        watcher.observe(document.querySelector('main'), {childList: true, subtree: true});
    });
}"""
"""From the last event of a kind to the first painted frame after it for which something holds."""
FOUND = """document.querySelector('input[type=search]').value === %(word)s
    && [...document.querySelectorAll('tr.row')].every((one) => one.textContent.includes(%(word)s))
    && document.querySelector('tr.row')"""
SORTED = """document.querySelector('table.virtual th[aria-sort] button')
    .textContent.includes(%(word)s)"""
PASTE = """(words) => {
    const box = document.querySelector('input[type=search]');
    box.value = words;
    box.dispatchEvent(new Event('input', {bubbles: true}));
}"""
KEY_MS = 80
"""Between two keys of somebody who types fast."""


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
        f"sweep page, {trials} trials": (f"/sweeps/{sweep_id}", ("adabelief", "0.3", "adamw")),
    }
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        for title, (path, words) in visits.items():
            seen: dict[str, list[float]] = {}
            for _ in range(VISITS):
                context = browser.new_context(viewport={"width": 1360, "height": 900})
                context.add_init_script(
                    f"sessionStorage.setItem('gogooku3.key', {json.dumps(key)})"
                )
                page = context.new_page()
                weight = visit(page, url + path, words, is_sweep=path != "/", seen=seen)
                context.close()
            print(title)
            print(f"  {'first visit, packed':42}{weight['encodedBodySize'] / 1000:.0f} kB")
            print(f"  {'first visit, unpacked':42}{weight['decodedBodySize'] / 1000:.0f} kB")
            for name, took in seen.items():
                print(f"  {name:42}{statistics.median(took):.0f} ms, slowest {max(took):.0f} ms")
        browser.close()


def visit(
    page: Page, url: str, words: Sequence[str], *, is_sweep: bool, seen: dict[str, list[float]]
) -> dict[str, Any]:
    """Open a page and use its table as a person does; the weight of its files."""

    def note(name: str, took: float) -> None:
        seen.setdefault(name, []).append(took)

    page.goto(url)
    page.evaluate(WATCH)
    page.locator("tr.row").first.wait_for()
    note("first rows to be seen", page.evaluate("performance.now()"))
    paint = "performance.getEntriesByName('first-contentful-paint')[0].startTime"
    note("first contentful paint (target 1000)", page.evaluate(paint))
    if is_sweep:
        wait(lambda: page.evaluate(DRAWN) >= CHARTS)
        note("charts in sight drawn", page.evaluate("performance.now()"))
        note("longest task, of the chart library", page.evaluate("longest"))
        page.evaluate("longest = 0")
    weight = sizes(page)
    box = page.locator("input[type=search]").first
    page.evaluate(answered("input", FOUND, words[0]))
    page.evaluate(PASTE, words[0])
    note("filter, pasted at once (target 100)", page.evaluate("answered"))
    for word in words:
        box.click()
        box.fill("")
        page.evaluate(answered("input", FOUND, word))
        page.keyboard.type(word, delay=KEY_MS)
        note("filter, last key to painted (target 100)", page.evaluate("answered"))
    box.fill("")
    for column in ("State", "Trial" if is_sweep else "Job"):
        page.evaluate(answered("click", SORTED, column))
        page.get_by_role("button", name=column, exact=True).click()
        note("sort, clicked to painted (target 100)", page.evaluate("answered"))
    note("longest time without an answer", page.evaluate("longest"))
    if is_sweep:
        page.evaluate("longest = 0")
        for at in range(CHARTS, ALL_CHARTS):
            page.locator("figure.chart:has(.plot)").nth(at).scroll_into_view_if_needed()
        wait(lambda: page.evaluate(DRAWN) >= ALL_CHARTS)
        note("the same, scrolling past the charts", page.evaluate("longest"))
    return weight


def answered(kind: str, is_done: str, word: str) -> str:
    """A script: `window.answered` is how long it took from an event to what was wanted."""
    return ANSWERED % {"kind": kind, "is_done": is_done % {"word": json.dumps(word)}}


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
