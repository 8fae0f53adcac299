"""The servers that `benchmarks.service` compares: ours, MLflow and a bare FastAPI app.

One process each, on one PostgreSQL.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from datetime import date
from pathlib import Path
from typing import Any

from sqlalchemy import text

from app.db import Database
from app.db.migrate import upgrade
from app.domain import Scope
from app.embedded.postgres import EmbeddedPostgres
from app.embedded.process import free_port
from app.embedded.valkey import EmbeddedValkey
from app.jobs import keys
from gogooku3.data.build import build
from gogooku3.data.synth import synthesise

BARE = """
from fastapi import FastAPI
from pydantic import BaseModel
class Spec(BaseModel):
    name: str
    dataset: str
    labels: dict[str, str]
    config: dict
app = FastAPI()
ROW = {"id": "job_1", "state": "queued", "config": {f"k{n}": n for n in range(60)}}
@app.post("/jobs", status_code=201)
async def create(spec: Spec): return ROW
@app.get("/jobs/1")
async def get(): return ROW
@app.get("/list")
async def list_(): return {"items": [ROW] * 50}
"""


class Peers:
    """Started together, ended with `stack`."""

    def __init__(self, folder: Path, mlflow: Path | None, stack: contextlib.ExitStack) -> None:
        self.home = folder / "home"
        (self.home / "caches").mkdir(parents=True)
        postgres = EmbeddedPostgres(folder / "pg")
        valkey = EmbeddedValkey(folder / "valkey")
        stack.callback(postgres.stop)
        stack.callback(valkey.stop)
        self.url, self.redis = postgres.start(), valkey.start()
        upgrade(self.url)
        self.database = Database(self.url)
        stack.callback(self.database.dispose)
        market = synthesise(stocks=30, days=220, seed=3)
        header = build(
            market.table,
            name="tiny",
            out=self.home / "caches" / "tiny.arrow",
            horizons=(1, 5),
            planted=market.planted,
        )
        self.spec = specification(header.calendar)
        with self.database.session() as session:
            _, self.key = keys.create(session, "benchmark", Scope.ADMIN, requests_per_minute=0)
        self.ours = self._serve_ours(stack)
        self.bare = self._serve_bare(stack, folder)
        self.mlflow_url = self.url.replace("/gogooku3?", "/mlflow?")
        self.mlflow = self._serve_mlflow(stack, folder, mlflow) if mlflow else None

    def _serve_ours(self, stack: contextlib.ExitStack) -> int:
        port = free_port()
        environment = os.environ | {
            "GOGOOKU3_HOME": str(self.home),
            "GOGOOKU3_DATABASE_URL": self.url,
            "GOGOOKU3_REDIS_URL": self.redis,
        }
        command = [sys.executable, "-m", "app.main", "--port", str(port)]
        self.process = started(stack, command, environment)
        wait_port(port)
        return port

    def _serve_bare(self, stack: contextlib.ExitStack, folder: Path) -> int:
        (folder / "bare.py").write_text(BARE)
        port = free_port()
        command = [
            *(sys.executable, "-m", "uvicorn", "bare:app", "--port", str(port)),
            *("--no-access-log", "--app-dir", str(folder)),
        ]
        started(stack, command, dict(os.environ))
        wait_port(port)
        return port

    def _serve_mlflow(self, stack: contextlib.ExitStack, folder: Path, command: Path) -> int:
        with self.database.engine.connect() as connection:
            connection = connection.execution_options(isolation_level="AUTOCOMMIT")
            connection.execute(text("CREATE DATABASE mlflow"))
        port = free_port()
        environment = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        arguments = [
            *(str(command), "server", "--port", str(port), "--workers", "1"),
            *("--backend-store-uri", self.mlflow_url.replace("+psycopg", "+psycopg2")),
            *("--default-artifact-root", str(folder / "mlruns")),
        ]
        started(stack, arguments, environment)
        wait_port(port, timeout_s=120)
        return port


def specification(calendar: tuple[date, ...]) -> dict[str, Any]:
    """A small valid job."""
    days = [day.isoformat() for day in calendar]
    return {
        "name": "small",
        "dataset": "tiny",
        "labels": {"team": "red"},
        "config": {
            "max_epochs": 3,
            "data": {
                "lookback": 10,
                "horizons": [1, 5],
                "split": {"train_end": days[150], "valid_end": days[-1], "embargo_days": 0},
            },
            "model": {"hidden_size": 16},
        },
    }


def peak_mb(pid: int) -> float:
    """The most memory that a process has held."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def started(
    stack: contextlib.ExitStack, command: list[str], environment: dict[str, str]
) -> subprocess.Popen[bytes]:
    """A server, ended with the benchmark."""
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )

    def end() -> None:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(15)
        process.kill()

    stack.callback(end)
    return process


def wait_port(port: int, timeout_s: float = 60.0) -> None:
    """Until somebody listens."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            assert time.monotonic() < deadline, "a server did not start"
            time.sleep(0.1)
