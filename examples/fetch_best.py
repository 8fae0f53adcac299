"""Fetch the best checkpoint of all finished jobs that carry a label, ready for a trading script.

    python examples/fetch_best.py KEY:VALUE FILE.gk3 [METRIC]

GOGOOKU3_URL and GOGOOKU3_API_KEY say where and as whom.
"""

from __future__ import annotations

import sys

from gogooku3.client import Client


def main() -> int:
    """Write the file and print its path, of which job it is and how good that was; 0 when done."""
    if len(sys.argv) not in (3, 4):
        print(__doc__)
        return 2
    label, file, metric = [*sys.argv[1:], "valid/rank_ic"][:3]
    with Client() as client:
        best, value = None, float("-inf")
        for job in client.jobs.list(state="succeeded", label=label):
            found = ((job.best or {}).get("metrics") or {}).get(metric)
            if found is not None and found > value:
                best, value = job, found
        if best is None:
            print(f"no finished job with the label {label} has a {metric}", file=sys.stderr)
            return 1
        path = client.jobs.best_checkpoint(best.id, file)  # verified by its SHA-256
    print(path, best.id, f"{metric} {value:.4f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
