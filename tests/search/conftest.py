"""Studies in a real database, over a small space."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from app.db.database import make_engine
from gogooku3.config import CheckedSweep, check_sweep
from gogooku3.search import (
    SCHEMA,
    Search,
    Storage,
    close_storage,
    memory_storage,
    open_storage,
)

BASE: dict[str, Any] = {
    "max_epochs": 9,
    "data": {"split": {"train_end": "2018-12-31", "valid_end": "2019-12-31"}},
}
SPACE: dict[str, Any] = {
    "optimizer.lr": {"float": [1e-5, 1e-1], "log": True},
    "model.dropout": {"float": [0.0, 0.5], "step": 0.1},
    "model.gat.layers": {"int": [0, 4]},
    "optimizer.kind": {"choice": ["adamw", "adabelief"]},
}


def make_sweep(space: dict[str, Any] | None = None, **more: Any) -> CheckedSweep:
    """A checked sweep of 30 trials."""
    given = {
        "dataset": "jp",
        "config": BASE,
        "search_space": space or SPACE,
        "n_trials": 30,
        **more,
    }
    checked, problems = check_sweep(given, lambda _: [])
    assert problems == []
    assert checked is not None
    return checked


@pytest.fixture
def storage() -> Storage:
    return memory_storage()


@pytest.fixture(scope="module")
def search_url(database_url: str) -> str:
    """A database with the schema of the studies."""
    engine = make_engine(database_url)
    with engine.begin() as connection:
        connection.exec_driver_sql(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")
    engine.dispose()
    return database_url


@pytest.fixture(scope="module")
def database_storage(search_url: str) -> Iterator[Storage]:
    storage = open_storage(search_url)
    yield storage
    close_storage(storage)


MakeSearch = Callable[..., Search]


@pytest.fixture
def make_search(storage: Storage) -> MakeSearch:
    """A prepared search in memory."""

    def make(name: str = "swp", where: Storage | None = None, **more: Any) -> Search:
        checked = make_sweep(**more)
        search = Search(where or storage, name, checked.spec, checked.space)
        search.prepare()
        return search

    return make
