"""Where studies are kept: Optuna's tables in a schema of their own, or memory for a preview."""

from __future__ import annotations

import logging
import warnings

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.storages import BaseStorage, InMemoryStorage, RDBStorage, get_storage

SCHEMA = "optuna"
"""PostgreSQL schema of Optuna's tables; the server's migrations create it."""
Storage = BaseStorage

# Grouped TPE, the Wilcoxon test and others are marked experimental: a new version of Optuna comes
# only with a change of the pinned range.
warnings.filterwarnings("ignore", category=ExperimentalWarning)
# Every suggestion is logged where it is made; Optuna's own lines would only repeat it.
optuna.logging.set_verbosity(optuna.logging.WARNING)
optuna.logging.disable_default_handler()
optuna.logging.enable_propagation()
logging.getLogger("alembic.runtime.migration").setLevel(logging.WARNING)


def open_storage(url: str, *, pool_size: int = 2) -> Storage:
    """The studies in a PostgreSQL database (`postgresql+psycopg://...`), with a cache of finished
    trials; made once per process, used from any thread.

    Makes Optuna's tables where they are missing: let one process do that at a time.
    """
    storage = RDBStorage(
        url,
        engine_kwargs={
            "pool_size": pool_size,
            "max_overflow": 10,
            "pool_pre_ping": True,
            "pool_timeout": 10,
            "connect_args": {
                "connect_timeout": 5,
                "application_name": "gogooku3-search",
                # Asking and telling are some small transactions, none of which waits for the
                # disk: the caller's own commit comes after them in the same log, and does.
                "options": f"-c search_path={SCHEMA} -c synchronous_commit=off "
                "-c lock_timeout=10s -c statement_timeout=30s "
                "-c idle_in_transaction_session_timeout=15s",
            },
        },
    )
    # Wrapped once: Optuna would make a new, empty cache for each study that is opened.
    return get_storage(storage)


def close_storage(storage: Storage) -> None:
    """Close the connections of a storage that `open_storage` made."""
    storage.remove_session()
    backend = getattr(storage, "_backend", None)
    if isinstance(backend, RDBStorage):
        backend.engine.dispose()


def memory_storage() -> Storage:
    """A storage that ends with the process."""
    return InMemoryStorage()
