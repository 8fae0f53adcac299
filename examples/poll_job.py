"""Poll a job the way a dashboard does: an unchanged job costs a 304 and no body.

    python examples/poll_job.py JOB [SECONDS]

Standard library only; GOGOOKU3_URL and GOGOOKU3_API_KEY say where and as whom.
"""

from __future__ import annotations

import json
import os
import sys
import time
import urllib.error
import urllib.request

FINISHED = {"succeeded", "failed", "cancelled", "pruned"}


def main() -> int:
    """Print a line whenever the job has changed; 0 when it succeeded."""
    if len(sys.argv) < 2:
        print(__doc__)
        return 2
    url = os.environ.get("GOGOOKU3_URL", "http://127.0.0.1:8642")
    pause_s = float(sys.argv[2]) if len(sys.argv) > 2 else 2.0
    headers = {}
    if key := os.environ.get("GOGOOKU3_API_KEY"):
        headers["Authorization"] = f"Bearer {key}"
    while True:
        request = urllib.request.Request(f"{url}/v1/jobs/{sys.argv[1]}", headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                headers["If-None-Match"] = answer.headers["ETag"]
                job = json.load(answer)
        except urllib.error.HTTPError as error:
            if error.code != 304:
                print(error.read().decode(), file=sys.stderr)
                return 1
        else:
            progress = job["progress"] or {}
            rank_ic = (job["metrics"] or {}).get("valid/rank_ic")
            epochs = f"{progress.get('epoch', 0)}/{progress.get('max_epochs', '?')}"
            print(f"{job['state']}  epoch {epochs}  valid/rank_ic {rank_ic}", flush=True)
            if job["state"] in FINISHED:
                return 0 if job["state"] == "succeeded" else 1
        time.sleep(pause_s)


if __name__ == "__main__":
    sys.exit(main())
