"""Several API processes and workers on this machine, as one service: for benchmarks and chaos.

PostgreSQL and Valkey are started from the wheels and handed to everybody as external servers, so
nothing but the database and the broker is shared, as between many machines.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from app.db.migrate import upgrade
from app.embedded.postgres import EmbeddedPostgres
from app.embedded.valkey import EmbeddedValkey
from gogooku3.data.build import build
from gogooku3.data.header import read_header
from gogooku3.data.synth import synthesise

READY_S = 120.0


@dataclass
class Program:
    """A process of ours that can be killed and started again."""

    name: str
    command: Sequence[str]
    environment: dict[str, str]
    log: Path
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, its output appended to its log."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command,
                env={**os.environ, **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Of the process that was started last."""
        assert self.process is not None
        return self.process.pid

    def is_alive(self) -> bool:
        """Whether it runs."""
        return self.process is not None and self.process.poll() is None

    def stop(self, patience_s: float = 40.0) -> None:
        """Ask it to end, then kill it."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(signal.SIGCONT)
        self.process.terminate()
        try:
            self.process.wait(patience_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@dataclass
class Cluster:
    """The servers, `apis` API processes and `workers` workers of `slots` slots each, in `home`."""

    home: Path
    apis: int = 1
    workers: int = 1
    slots: int = 1
    lease_s: float = 60.0
    worker_options: Sequence[str] = ()
    programs: list[Program] = field(default_factory=list)

    def __enter__(self) -> Cluster:
        # Killed in good order, we leave nobody running.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        for name in ("caches", "artifacts", "logs"):
            (self.home / name).mkdir(parents=True, exist_ok=True)
        self.postgres = EmbeddedPostgres(self.home / "pg")
        self.valkey = EmbeddedValkey(self.home / "valkey")
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for program in self.programs:
            if program.is_alive():
                program.process.send_signal(signal.SIGCONT)  # type: ignore[union-attr]
                program.process.terminate()  # type: ignore[union-attr]
        for program in self.programs:
            program.stop()
        for pid in self.trainers():
            os.kill(pid, signal.SIGKILL)
        self.valkey.stop()
        self.postgres.stop()

    def _start(self) -> None:
        self.database_url = self.postgres.start()
        self.redis_url = self.valkey.start()
        upgrade(self.database_url)
        self._environment = {
            "GOGOOKU3_HOME": str(self.home),
            "GOGOOKU3_DATABASE_URL": self.database_url,
            "GOGOOKU3_REDIS_URL": self.redis_url,
            "GOGOOKU3_LEASE_S": str(self.lease_s),
            "OMP_NUM_THREADS": "1",
        }
        self.ports = [free_port() for _ in range(self.apis)]
        for port in self.ports:
            self._add(f"api-{port}", "app.main", "--port", str(port))
        for number in range(self.workers):
            options = ("--slots", str(self.slots), *self.worker_options)
            self.add_worker(f"worker-{number}", *options)
        self.wait(self._is_ready, "the service is not ready")

    def add_worker(self, name: str, *options: str) -> None:
        """Start one more worker."""
        self._add(name, "worker.main", *options)

    def _add(self, name: str, module: str, *options: str) -> None:
        command = (sys.executable, "-P", "-m", module, *options)
        log = self.home / "logs" / f"{name}.log"
        program = Program(name, command, self._environment, log)
        self.programs.append(program)
        program.start()

    @property
    def urls(self) -> list[str]:
        """Of the API processes."""
        return [f"http://127.0.0.1:{port}" for port in self.ports]

    def named(self, start: str) -> list[Program]:
        """The programs whose names begin so."""
        return [program for program in self.programs if program.name.startswith(start)]

    def get(self, path: str, url: str | None = None) -> Any:
        """The JSON at a path of one of the API processes."""
        with _opener.open(f"{url or self.urls[0]}{path}", timeout=10.0) as answer:
            return json.load(answer)

    def _is_ready(self) -> bool:
        try:
            alive = [one for one in self.get("/v1/workers")["items"] if one["is_alive"]]
            for url in self.urls:
                self.get("/readyz", url)
        except OSError:
            return False
        return len(alive) >= self.workers

    def wait(
        self,
        condition: Callable[[], object],
        what: str,
        timeout_s: float = READY_S,
        look_s: float = 0.1,
    ) -> None:
        """Until the condition holds, looked at every `look_s`. Raises TimeoutError."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > deadline:
                raise TimeoutError(f"{what} after {timeout_s:g} s; logs in {self.home}/logs")
            time.sleep(look_s)

    def trainers(self) -> dict[int, str]:
        """Process id -> folder of the attempt, of every live trainer and builder of this home."""
        found: dict[int, str] = {}
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                folder = os.readlink(entry / "cwd")
                arguments = (entry / "cmdline").read_bytes()
                is_zombie = (entry / "stat").read_text().rpartition(")")[2].split()[0] == "Z"
            except OSError:
                continue
            is_child = b"gogooku3.training.run" in arguments or b"gogooku3.data.task" in arguments
            if is_child and folder.startswith(str(self.home / "artifacts")) and not is_zombie:
                found[int(entry.name)] = folder.removesuffix(" (deleted)")
        return found


def small_dataset(home: Path, *, stocks: int = 40, days: int = 260) -> dict[str, Any]:
    """Write the dataset `tiny` and return a split for it."""
    path = home / "caches" / "tiny.arrow"
    path.parent.mkdir(parents=True, exist_ok=True)
    market = synthesise(stocks=stocks, days=days, seed=5, horizons=(1, 5))
    build(market.table, name="tiny", out=path, horizons=(1, 5))
    calendar = [day.isoformat() for day in read_header(path).calendar]
    return {
        "train_end": calendar[int(len(calendar) * 0.6)],
        "valid_end": calendar[int(len(calendar) * 0.8)],
        "embargo_days": 0,
    }


def small_job(split: dict[str, Any], *, epochs: int = 1, **more: Any) -> dict[str, Any]:
    """A job of a few quick epochs on `tiny`."""
    model = {"hidden_size": 8, "fan": {"top_k": 1}, "encoder": {"heads": 2}, "gat": {"layers": 0}}
    return {
        "dataset": "tiny",
        "config": {
            "max_epochs": epochs,
            "data": {"lookback": 5, "horizons": [1, 5], "split": split},
            "model": {"kind": "atft_gat_fan", **model},
            "batch": {"days_per_step": 32},
        },
        "resources": {"cpu_threads": 1},
        **more,
    }


def free_port() -> int:
    """A loopback port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
