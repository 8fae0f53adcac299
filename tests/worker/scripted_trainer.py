"""A trainer that follows a script: a real child process with the real pipes, without torch.

    python scripted_trainer.py '[["epoch", 1], ["sleep", 5], ["exit", 0]]' --events-fd=N ...

Steps: ["start", provenance], ["epoch", n], ["checkpoint", n], ["resume_point", n], ["progress", n],
["failure", class, code], ["end", outcome], ["raw", text], ["print", text], ["sleep", s],
["exit", code], ["signal", number], ["ignore_term"], ["spawn"] (a helper process that outlives us),
["wait_term"], ["copy", source, target], ["truncate", path],
["obey_lease"] (end as the real trainer does when the lifeline is silent).
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time

METRICS = {"valid/rank_ic": 0.1, "train/loss": 1.0}


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("script")
    parser.add_argument("--events-fd", type=int, required=True)
    parser.add_argument("--lifeline-fd", type=int, required=True)
    parser.add_argument("--warm", action="store_true")
    given = parser.parse_args()
    asked = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: asked.set())
    text = sys.stdin.buffer.read()
    if given.warm and not text:
        return 0
    request = json.loads(text)
    if given.warm:
        from pathlib import Path

        from gogooku3.training.warm import move_in

        move_in(Path(request["out_dir"]), Path(request["log"]))

    def tell(**event: object) -> None:
        os.write(given.events_fd, json.dumps(event).encode() + b"\n")

    for step, *values in json.loads(given.script):
        match step, values:
            case "start", [provenance]:
                threads = {k: v for k, v in os.environ.items() if k.endswith("_THREADS")}
                tell(
                    type="start",
                    provenance={
                        "pid": os.getpid(),
                        "request": request,
                        "threads": threads,
                        "cuda": os.environ["CUDA_VISIBLE_DEVICES"],
                        "secrets": [
                            k for k in os.environ if k.startswith(("GOGOOKU3_", "AWS_", "JQUANTS_"))
                        ],
                        **provenance,
                    },
                )
            case "epoch", [n]:
                tell(type="epoch", epoch=n, metrics=METRICS, duration_s=0.1)
            case "progress", [n]:
                tell(type="progress", epoch=1, max_epochs=9, step=n, steps=9)
            case "checkpoint", [n]:
                name = f"epoch-{n:04}.gk3"
                with open(name, "wb") as file:
                    file.write(b"%d" % n)
                tell(
                    type="checkpoint",
                    epoch=n,
                    path=name,
                    size=1,
                    sha256="0" * 64,
                    is_best=True,
                    metrics=METRICS,
                )
            case "resume_point", [n]:
                open("resume.pt", "wb").close()
                tell(type="resume_point", epoch=n, step=0, path="resume.pt")
            case "failure", [failure_class, code]:
                tell(type="failure", failure_class=failure_class, code=code, message="told so")
            case "end", [outcome]:
                tell(type="end", outcome=outcome, best_epoch=None, best_metrics={})
            case "raw", [text]:
                os.write(given.events_fd, text.encode())
            case "print", [text]:
                print(text, flush=True)  # noqa: T201
            case "sleep", [seconds]:
                time.sleep(seconds)
            case "exit", [code]:
                return int(code)
            case "signal", [number]:
                os.kill(os.getpid(), number)
            case "ignore_term", []:
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
            case "spawn", []:
                helper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
                print(f"helper {helper.pid}", flush=True)  # noqa: T201
            case "wait_term", []:
                asked.wait(60)
            case "copy", [source, target]:
                shutil.copy(source, f"{target}.new")
                os.replace(f"{target}.new", target)
            case "truncate", [path]:
                os.truncate(path, 100)
            case "obey_lease", []:
                from gogooku3.lifeline import Lifeline

                Lifeline(given.lifeline_fd, request["lease_s"], asked.set).start()
            case _:
                raise SystemExit(f"unknown step {step}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
