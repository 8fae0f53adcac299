"""A dashboard in 20 lines: what runs and what waits, until nothing does."""

import time

from gogooku3.client import Client

with Client() as client:  # GOGOOKU3_URL and GOGOOKU3_API_KEY say where and as whom
    while live := list(client.jobs.list(state=["running", "queued"])):
        print("\033[2J\033[H" + time.strftime("%H:%M:%S"), f"{len(live)} jobs", flush=True)
        for job in live:
            at = {"epoch": 1, "max_epochs": 1, "step": 0, "steps": 1} | (job.progress or {})
            share = (at["epoch"] - 1 + at["step"] / (at["steps"] or 1)) / at["max_epochs"]
            rank_ic = (job.metrics or {}).get("valid/rank_ic")
            bar = "█" * round(24 * share)
            figure = "" if rank_ic is None else f"rank IC {rank_ic:+.4f}"
            print(f"{job.name or job.id:32.32} {job.state:8} {bar:·<24} {share:4.0%}  {figure}")
        time.sleep(2)
print("nothing runs, nothing waits")
