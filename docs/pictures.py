"""Take the pictures that the documentation shows, of a server that has something to show.

    python docs/pictures.py http://127.0.0.1:8642 [FOLDER]

They go to docs/img. With a FOLDER every page is pictured there, in the light, in the dark and on a
phone, to be looked at. Needs Chromium and the development installation. What is shown is the newest
of each kind.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from gogooku3.client import Client

IMG = Path(__file__).parent / "img"
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
WIDE = {"width": 1280, "height": 860}
PHONE = {"width": 390, "height": 844}
SHOWN = ("jobs", "job", "dataset", "compare", "queue", "submit", "sweep")
"""Those in docs/img; each is on some page."""


def main(url: str, folder: Path | None = None) -> int:
    """Write the pictures; 0 when all were taken."""
    out = folder or IMG
    with Client(url) as client:
        jobs = [job for job in client.jobs.list() if job.kind == "train" and job.metrics]
        best = max(jobs, key=lambda job: int((job.progress or {}).get("epoch") or 0))
        pair = ",".join(job.id for job in jobs[-3:])
        sweep = next(client.sweeps.list(), None)
    pages = {
        "jobs": "/",
        "job": f"/jobs/{best.id}",
        "datasets": "/datasets",
        "dataset": f"/datasets/{best.dataset}",
        "compare": f"/compare?jobs={pair}",
        "queue": "/queue",
        "submit": "/submit",
        "api": "/docs",
        "sweeps": "/sweeps",
    }
    if sweep is not None:
        pages["sweep"] = f"/sweeps/{sweep.id}"
    if folder is None:
        pages = {name: path for name, path in pages.items() if name in SHOWN}
    out.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        for name, path in pages.items():
            take(browser, url + path, out / f"{name}.png")
        for name, path in pages.items() if folder is not None else ():
            take(browser, url + path, out / f"{name}-dark.png", scheme="dark")
            take(browser, url + path, out / f"{name}-phone.png", size=PHONE)
        browser.close()
    return 0


def take(
    browser: Browser, url: str, file: Path, *, scheme: str = "light", size: dict[str, int] = WIDE
) -> None:
    """One picture, once its charts are drawn."""
    context = browser.new_context(
        viewport=size,  # type: ignore[arg-type]
        color_scheme=scheme,  # type: ignore[arg-type]
        bypass_csp=True,  # the browser's driver puts a rule into what it pictures
        reduced_motion="reduce",
    )
    page = context.new_page()
    page.goto(url)
    page.locator("main h1").wait_for()
    if page.locator("figure .plot").count():
        page.locator(".js-plotly-plot:has(.main-svg)").first.wait_for()
    page.wait_for_load_state("load")
    page.wait_for_timeout(2500)  # nothing tells that the last chart has been drawn
    page.screenshot(path=file)
    context.close()


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1], *map(Path, sys.argv[2:])))
