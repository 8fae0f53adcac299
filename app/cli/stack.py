"""The whole server on one machine: PostgreSQL, Valkey, the API and a worker, kept alive."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import FrameType

from app.cli.keeper import Keeper
from app.cli.leftovers import end_leftovers
from app.cli.process import ChildProcess
from app.embedded.home import ChildRecord, HomeLock, UpRecord, remove_up, start_ticks, write_up
from app.settings import Settings

READY_TIMEOUT_S = 120.0
WORKER_GRACE_S = 60.0
"""Trainers write a checkpoint before their worker ends."""
API_GRACE_S = 10.0
CHECK_EVERY_S = 0.2


class StackError(Exception):
    """The server could not be started."""


@dataclass
class Stack:
    """Starts the server's parts, keeps them alive until it is told to stop, and stops them.

    Signals and the parents of the embedded servers are matters of the main thread: run it there.
    """

    settings: Settings
    host: str
    port: int
    worker_options: Sequence[str]
    say: Callable[[str], None]
    """Told what happens, one line at a time."""
    _signals: int = field(default=0, init=False)

    def run(self, on_ready: Callable[[str], None]) -> None:
        """Run until SIGINT, SIGTERM or SIGHUP. `on_ready` is called once, with the address.

        Raises HomeInUseError, EmbeddedServerError, StackError; whatever was started by then is
        stopped again.
        """
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._signalled)
        for folder in (self.settings.caches, self.settings.artifacts, self.settings.logs):
            folder.mkdir(parents=True, exist_ok=True)
        with HomeLock(self.settings.home):
            end_leftovers(self.settings.home, self.say)
            self._keeper = Keeper(self.say)
            try:
                self._start()
                if not self._signals:
                    on_ready(self.url)
                while not self._signals:
                    if self._keeper.check():
                        self._publish()
                    time.sleep(CHECK_EVERY_S)
            finally:
                self._signals = max(self._signals, 1)
                self._keeper.stop()
                remove_up(self.settings.home)

    @property
    def url(self) -> str:
        """Where clients on this machine reach the API."""
        host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(self.host, self.host)
        return f"http://{host}:{self.port}"

    def _start(self) -> None:
        # The servers' packages are loaded here: `gogooku3 --help` does without them.
        from app.db.migrate import upgrade
        from app.embedded.postgres import EmbeddedPostgres
        from app.embedded.valkey import EmbeddedValkey

        self.port = free_port(self.host, self.port)
        self._database_url = self.settings.database_url or ""
        self._redis_url = self.settings.redis_url or ""
        if not self._database_url:
            self.say("starting PostgreSQL")
            postgres = EmbeddedPostgres(self.settings.home / "pg")
            self._keeper.start("PostgreSQL", postgres)
            self._database_url = postgres.url()
        if not self._redis_url:
            self.say("starting Valkey")
            valkey = EmbeddedValkey(self.settings.home / "valkey")
            self._keeper.start("Valkey", valkey)
            self._redis_url = valkey.url()
        upgrade(self._database_url)
        # Published first: the API and the worker find their servers' addresses there.
        self._publish()
        self.say("starting the API and the worker")
        api = self._process(
            "api", "app.main", "--host", self.host, "--port", str(self.port), grace_s=API_GRACE_S
        )
        worker = self._process(
            "worker", "worker.main", *self.worker_options, grace_s=WORKER_GRACE_S
        )
        self._keeper.start("the API", api)
        self._keeper.start("the worker", worker)
        self._publish()
        self._wait_ready(api, worker)

    def _process(self, name: str, module: str, *options: str, grace_s: float) -> ChildProcess:
        return ChildProcess(
            command=[sys.executable, "-m", module, *options],
            environment={
                "GOGOOKU3_HOME": str(self.settings.home),
                # A folder named `app` where `up` was started must not be taken for ours.
                "PYTHONSAFEPATH": "1",
                "PYTHONUNBUFFERED": "1",
            },
            log=self.settings.logs / f"{name}.log",
            grace_s=grace_s,
        )

    def _wait_ready(self, *processes: ChildProcess) -> None:
        deadline = time.monotonic() + READY_TIMEOUT_S
        while not self._signals:
            for process in processes:
                if not process.is_alive():
                    raise StackError(f"{process.log} ends with:\n{process.last_lines()}")
            missing = not_ready(self.url)
            if missing is None:
                return
            if time.monotonic() > deadline:
                raise StackError(
                    f"not ready after {READY_TIMEOUT_S:g} s: {missing}; see {self.settings.logs}"
                )
            time.sleep(CHECK_EVERY_S)

    def _publish(self) -> None:
        children = []
        for kept in self._keeper.kept:
            pid = kept.server.pid
            started = start_ticks(pid) if pid is not None else None
            if pid is not None and started is not None:
                children.append(ChildRecord(name=kept.name, pid=pid, started=started))
        write_up(
            self.settings.home,
            UpRecord(
                pid=os.getpid(),
                started=start_ticks(os.getpid()) or 0,
                url=self.url,
                database_url=self._database_url,
                redis_url=self._redis_url,
                children=tuple(children),
            ),
        )

    def _signalled(self, number: int, frame: FrameType | None) -> None:
        self._signals += 1
        if self._signals > 1:
            for kept in self._keeper.kept:
                if isinstance(kept.server, ChildProcess):
                    kept.server.kill()


def not_ready(url: str) -> str | None:
    """What `/readyz` says is missing; None when everything is there."""
    # Without the proxy that the environment may name: it cannot reach this machine's loopback.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{url}/readyz", timeout=5.0):
            return None
    except urllib.error.HTTPError as error:
        return error.read().decode("utf-8", "replace")
    except (urllib.error.URLError, OSError) as error:
        return str(error)


def free_port(host: str, port: int) -> int:
    """`port`, or any free one for 0. Raises StackError when somebody listens there already."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise StackError(
                f"cannot listen on {host}:{port} ({error.strerror}); choose another with --port, "
                "or 0 for any free one"
            ) from None
        return int(probe.getsockname()[1])
