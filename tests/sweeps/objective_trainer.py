"""A trainer whose metric is a formula of its configuration: real processes and pipes, no torch.

    python objective_trainer.py '{"epoch_s": 0.05}' --events-fd=N --lifeline-fd=M

Options: epoch_s (seconds an epoch takes), fail_lr_above (such a trial fails), series (leave daily
series behind), seed_noise (standard deviation over seeds), hold (path: wait while the file exists,
after the first epoch).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import random
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any


def quality(config: dict[str, Any]) -> float:
    """What the run converges to: best at lr 1e-3 and dropout 0.2."""
    lr = math.log10(config["optimizer"]["lr"])
    return 0.1 - 0.02 * (lr + 3) ** 2 - 0.2 * (config["model"]["dropout"] - 0.2) ** 2


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("options")
    parser.add_argument("--events-fd", type=int, required=True)
    parser.add_argument("--lifeline-fd", type=int, required=True)
    given = parser.parse_args()
    options = json.loads(given.options)
    asked = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: asked.set())
    request = json.loads(sys.stdin.buffer.read())
    threading.Thread(target=obey_lease, args=(given.lifeline_fd, asked), daemon=True).start()
    config = request["config"]

    def tell(**event: object) -> None:
        os.write(given.events_fd, json.dumps(event).encode() + b"\n")

    tell(
        type="start",
        provenance={
            "pid": os.getpid(),
            "config": config,
            "dataset": {"fingerprint": options.get("fingerprint")},
        },
    )
    if config["optimizer"]["lr"] > options.get("fail_lr_above", math.inf):
        tell(type="failure", failure_class="diverged", code="diverged", message="too fast")
        return 4
    draw = random.Random(config["seed"])
    final = quality(config) + draw.gauss(0.0, options.get("seed_noise", 0.0))
    out_dir = Path(request["out_dir"])
    best, resumed = None, request.get("recorded_epoch") or 0
    for epoch in range(1, config["max_epochs"] + 1):
        if epoch > resumed and asked.wait(options.get("epoch_s", 0.0)):
            tell(type="end", outcome="interrupted", best_epoch=None, best_metrics={})
            return 3
        value = final * (1 - 0.5**epoch)
        metrics = {
            "valid/rank_ic": value,
            "valid/loss": 1 - value,
            "valid/turnover": config["model"]["dropout"],
        }
        if options.get("series"):
            write_series(out_dir, config, value, epoch)
        tell(type="epoch", epoch=epoch, metrics=metrics, duration_s=options.get("epoch_s", 0.0))
        if best is None or value > best:
            best = value
            content = f"{epoch} {value}".encode()
            (out_dir / f"epoch-{epoch:04}.gk3").write_bytes(content)
            tell(
                type="checkpoint",
                epoch=epoch,
                path=f"epoch-{epoch:04}.gk3",
                size=len(content),
                sha256=hashlib.sha256(content).hexdigest(),
                is_best=True,
                metrics=metrics,
            )
        while epoch == 1 and os.path.exists(options.get("hold", "")) and not asked.is_set():
            time.sleep(0.01)
    tell(type="end", outcome="completed", best_epoch=None, best_metrics={})
    return 0


def write_series(out_dir: Path, config: dict[str, Any], value: float, epoch: int) -> None:
    """Daily series whose mean is the value: a market that all trials share, and noise."""
    import datetime

    import numpy as np
    import pyarrow as pa

    market = np.random.default_rng(0).normal(0.0, 0.02, 80)
    text = f"{config['optimizer']['lr']} {config['model']['dropout']} {config['seed']}"
    own = np.random.default_rng(int(hashlib.sha256(text.encode()).hexdigest()[:8], 16))
    first = datetime.date(2018, 6, 18)
    columns: dict[str, Any] = {
        "date": pa.array([first + datetime.timedelta(days=day) for day in range(80)], pa.date32())
    }
    for horizon in config["data"]["horizons"]:
        noise = own.normal(0.0, 0.005, 80)
        columns[f"rank_ic@{horizon}"] = pa.array(value + market + noise - noise.mean())
        columns[f"ic@{horizon}"] = columns[f"rank_ic@{horizon}"]
        columns[f"long_short@{horizon}"] = pa.array(0.1 * (value + market + noise))
        columns[f"long_short_net@{horizon}"] = columns[f"long_short@{horizon}"]
    table = pa.table(columns).replace_schema_metadata({"epoch": str(epoch)})
    path = out_dir / "series-valid.arrow"
    with pa.ipc.new_file(str(path) + ".new", table.schema) as writer:
        writer.write_table(table)
    os.replace(str(path) + ".new", path)


def obey_lease(fd: int, asked: threading.Event) -> None:
    """End when the supervisor is gone, as the real trainer does."""
    while os.read(fd, 1024):
        pass
    asked.set()


if __name__ == "__main__":
    sys.exit(main())
