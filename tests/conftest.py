"""Real servers for every test: one PostgreSQL and one Valkey per test process, in /tmp, stopped
at the end. Each test module gets its own migrated database and its own broker database."""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest

from app.embedded.postgres import EmbeddedPostgres
from app.embedded.valkey import EmbeddedValkey

# Before anything loads torch: more arithmetic threads than cores only wait for one another, and
# what is compared to the last bit has to be added up in one order.
os.environ["OMP_NUM_THREADS"] = "1"

BROKER_DATABASES = 1024
TEMPLATE = "template_migrated"
_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def servers_folder() -> Iterator[Path]:
    """A short path, so that the sockets' paths stay short; passable by PostgreSQL's account."""
    folder = Path(tempfile.mkdtemp(prefix="gk3-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def postgres(servers_folder: Path) -> Iterator[EmbeddedPostgres]:
    """The test process's PostgreSQL. Do not stop it: start your own to test that."""
    server = EmbeddedPostgres(servers_folder / "pg")
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def postgres_url(postgres: EmbeddedPostgres) -> str:
    """Address of an empty database."""
    return postgres.url()


@pytest.fixture(scope="session")
def migrated_template(postgres_url: str) -> str:
    """Name of a migrated database to copy: the migrations run once per test process."""
    from app.db.migrate import upgrade

    create_database(postgres_url, TEMPLATE)
    upgrade(with_database(postgres_url, TEMPLATE))
    return TEMPLATE


@pytest.fixture(scope="session")
def fresh_database(
    postgres_url: str, migrated_template: str
) -> Callable[[], AbstractContextManager[str]]:
    """`with fresh_database() as url`: a migrated database, dropped at the end."""

    @contextmanager
    def fresh() -> Iterator[str]:
        name = f"test_{next(_numbers)}"
        create_database(postgres_url, name, template=migrated_template)
        yield with_database(postgres_url, name)
        drop_database(postgres_url, name)

    return fresh


@pytest.fixture(scope="module")
def database_url(fresh_database: Callable[[], AbstractContextManager[str]]) -> Iterator[str]:
    """Address of a fresh migrated database of this module's own."""
    with fresh_database() as url:
        yield url


@pytest.fixture
def empty_database_url(postgres_url: str) -> Iterator[str]:
    """Address of a fresh database without tables."""
    name = f"empty_{next(_numbers)}"
    create_database(postgres_url, name)
    yield with_database(postgres_url, name)
    drop_database(postgres_url, name)


@pytest.fixture(scope="session")
def valkey(servers_folder: Path) -> Iterator[EmbeddedValkey]:
    """The test process's Valkey. Do not stop it: start your own to test that."""
    server = EmbeddedValkey(servers_folder / "valkey", databases=BROKER_DATABASES)
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def fresh_broker(valkey: EmbeddedValkey) -> Callable[[], str]:
    """Each call gives the address of another empty broker database."""
    return lambda: valkey.url(next(_numbers))


@pytest.fixture(scope="module")
def redis_url(fresh_broker: Callable[[], str]) -> str:
    """Address of an empty broker database of this module's own."""
    return fresh_broker()


@pytest.fixture(scope="session")
def object_store() -> Iterator[str]:
    """The address of an S3-compatible server on loopback."""
    # Loaded only where it is needed: it takes a second.
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(object_store: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """An empty bucket `models`, as its own client sees it."""
    import boto3

    for name, value in (
        ("AWS_ENDPOINT_URL", object_store),
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test-secret"),
        ("AWS_DEFAULT_REGION", "us-east-1"),
    ):
        monkeypatch.setenv(name, value)
    made = boto3.resource("s3").Bucket("models")
    made.create()
    yield made
    made.objects.all().delete()
    made.delete()


def with_database(url: str, name: str) -> str:
    """The same server, another database."""
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


def create_database(url: str, name: str, *, template: str = "template1") -> None:
    _administer(url, f'CREATE DATABASE "{name}" TEMPLATE "{template}"')


def drop_database(url: str, name: str) -> None:
    _administer(url, f'DROP DATABASE "{name}" WITH (FORCE)')


def _administer(url: str, statement: str) -> None:
    address = with_database(url, "postgres").replace("+psycopg", "", 1)
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute(statement.encode())
