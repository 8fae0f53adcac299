"""The real app behind a real uvicorn, on the real servers, with a dataset to name."""

from __future__ import annotations

import copy
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import settings as hypothesis_settings

from app.db.database import Database
from app.jobs.claim import Claim, claim
from app.jobs.offer import Offer
from app.main import ApiServer, create_app
from app.settings import Settings
from gogooku3.data.build import build
from gogooku3.data.header import DatasetHeader
from gogooku3.data.synth import synthesise

hypothesis_settings.register_profile("thorough", max_examples=1000)


@dataclass
class Running:
    """An API being served, and the database behind it."""

    url: str
    settings: Settings
    app: Any
    server: ApiServer

    @property
    def database(self) -> Database:
        """For what a worker would do."""
        return self.app.state.server.database  # type: ignore[no-any-return]

    @property
    def watchers(self) -> int:
        """Streams being served."""
        return int(self.app.state.server.wakes.watchers)

    def claim(self, *, lease_s: float = 600.0) -> Claim:
        """Take the next queued job, as a worker does."""
        with self.database.session() as session:
            claimed = claim(session, worker_id="wrk_test", lease_s=lease_s, offer=Offer(cpu=[0]))
        assert claimed is not None
        return claimed


Serve = Callable[..., AbstractContextManager[Running]]


@contextmanager
def served(
    settings: Settings, database_url: str, redis_url: str, *, open_access: bool
) -> Iterator[Running]:
    """Serve the app on a free port until the end of the block."""
    app = create_app(
        settings, database_url=database_url, redis_url=redis_url, open_access=open_access
    )
    server = ApiServer(app, host="127.0.0.1", port=0)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 30
    while not server.started:
        assert thread.is_alive(), "the API did not start"
        assert time.monotonic() < deadline, "the API did not start in time"
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield Running(f"http://127.0.0.1:{port}", settings, app, server)
    finally:
        server.should_exit = True
        thread.join(timeout=20)
        assert not thread.is_alive(), "the API did not stop"


@pytest.fixture(scope="session")
def serve() -> Serve:
    """`with serve(settings, database_url, redis_url, open_access=...) as running`."""
    return served


@pytest.fixture(scope="session")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A home of its own."""
    home = tmp_path_factory.mktemp("home")
    made = Settings(home=home, database_url=None, redis_url=None)
    made.caches.mkdir()
    made.artifacts.mkdir()
    return made


@pytest.fixture(scope="session")
def dataset(settings: Settings) -> DatasetHeader:
    """The dataset `tiny`."""
    market = synthesise(stocks=30, days=220, seed=3)
    path: Path = settings.caches / "tiny.arrow"
    return build(market.table, name="tiny", out=path, horizons=(1, 5), planted=market.planted)


@pytest.fixture(scope="module")
def running(
    serve: Serve,
    settings: Settings,
    dataset: DatasetHeader,
    database_url: str,
    redis_url: str,
) -> Iterator[Running]:
    """An open server with this module's own database."""
    with serve(settings, database_url, redis_url, open_access=True) as one:
        yield one


@pytest.fixture
def http(running: Running) -> Iterator[httpx.Client]:
    """A plain HTTP client of the running server."""
    with httpx.Client(base_url=running.url, timeout=30, trust_env=False) as client:
        yield client


@pytest.fixture(scope="session")
def template(dataset: DatasetHeader) -> dict[str, Any]:
    """A small valid job."""
    calendar = [day.isoformat() for day in dataset.calendar]
    split = {"train_end": calendar[150], "valid_end": calendar[-1], "embargo_days": 0}
    return {
        "name": "small",
        "dataset": "tiny",
        "labels": {"team": "red"},
        "config": {
            "max_epochs": 3,
            "data": {"lookback": 10, "horizons": [1, 5], "split": split},
            "model": {"hidden_size": 16},
        },
    }


@pytest.fixture
def spec(template: dict[str, Any]) -> dict[str, Any]:
    """A copy of the small valid job, to be changed."""
    return copy.deepcopy(template)
