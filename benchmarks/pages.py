"""How heavy the pages are and how quickly they answer with 1,000 jobs.

    python benchmarks/pages.py [--jobs 1000]

Starts the whole server in a folder of its own, submits jobs over HTTP, measures in Chromium.
Bounded: five minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, sync_playwright

from gogooku3.client import Client

COMMAND = Path(sys.executable).with_name("gogooku3")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
SPLIT = {"train_end": "2018-09-28", "valid_end": "2018-11-30", "embargo_days": 0}
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


def main() -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--jobs", type=int, default=1000)
    given = parser.parse_args()
    home = tempfile.mkdtemp(prefix="gk3-pages-")
    environment = os.environ | {"GOGOOKU3_HOME": home}
    synth = ["data", "synth", "tiny", "--stocks", "30", "--days", "240"]
    subprocess.run([COMMAND, *synth], env=environment, check=True, stdout=subprocess.DEVNULL)
    up = subprocess.Popen(
        [COMMAND, "up", "--port", "0", "--json"],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert up.stdout is not None
        url = json.loads(up.stdout.readline())["url"]
        submit(url, given.jobs)
        measure(url, given.jobs)
    finally:
        up.terminate()
        up.wait(60)
        shutil.rmtree(home)
    return 0


def submit(url: str, count: int) -> None:
    """So many jobs; paused, so that the measurement has the machine to itself."""
    config = {
        "data": {"lookback": 10, "horizons": [1], "split": SPLIT},
        "model": {"kind": "linear"},
    }
    with Client(url) as client:
        for number in range(count):
            name = f"run {number:04d} of team {'red' if number % 10 else 'blue'}"
            job = client.jobs.create({"name": name, "dataset": "tiny", "config": config})
            client.jobs.pause(job.id)


def measure(url: str, count: int) -> None:
    """Weights and times."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        paints, rows, filters = [], [], []
        for _ in range(5):
            context = browser.new_context(viewport={"width": 1360, "height": 900})
            page = context.new_page()
            page.goto(url)
            page.locator("tr.row").first.wait_for()
            rows.append(page.evaluate("performance.now()"))
            paints.append(
                page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
            )
            weight = sizes(page)
            filters += [page.evaluate(FILTER, words) for words in ("blue", "blu", "run 00")]
            context.close()
        browser.close()
    print(f"jobs                       {count}")
    print(f"first visit, packed        {weight['encodedBodySize'] / 1000:.0f} kB")
    print(f"first visit, unpacked      {weight['decodedBodySize'] / 1000:.0f} kB")
    print(f"first contentful paint     {statistics.median(paints):.0f} ms (target 1000)")
    print(f"first rows to be seen      {statistics.median(rows):.0f} ms")
    print(f"filter, typed to drawn     {statistics.median(filters):.0f} ms (target 100)")


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
