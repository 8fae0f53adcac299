"""Keys open the door exactly as long as they may."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from app.db import ApiKey, Database
from app.domain import NotFoundError, Scope, UnauthenticatedError
from app.jobs import keys


def make(database: Database, **more: object) -> tuple[ApiKey, str]:
    with database.session() as session:
        return keys.create(session, "team", Scope.SUBMIT, **more)


def enter(database: Database, secret: str) -> ApiKey:
    with database.session() as session:
        return keys.authenticate(session, secret)


def test_a_key_opens(database: Database) -> None:
    key, secret = make(database, max_queued=3, max_running=1)
    assert secret.startswith("gk_")
    assert len(secret) > 40
    found = enter(database, secret)
    assert (found.id, found.scope, found.max_queued, found.max_running) == (
        key.id,
        Scope.SUBMIT,
        3,
        1,
    )


def test_the_secret_is_not_stored(database: Database) -> None:
    key, secret = make(database)
    with database.session() as session:
        row = str(session.execute(text("SELECT * FROM api_keys")).one())
    assert secret not in row
    assert secret.startswith(key.prefix)
    assert len(key.prefix) < 12


def test_two_keys_differ(database: Database) -> None:
    assert make(database)[1] != make(database)[1]
    with database.session() as session:
        assert len(keys.list_keys(session)) == 2


@pytest.mark.parametrize("presented", ["", "gk_", "gk_wrong", "\x00", "\ud800", "é" * 5000])
def test_anything_else_does_not(presented: str, database: Database) -> None:
    make(database)
    with pytest.raises(UnauthenticatedError):
        enter(database, presented)


def test_the_hash_is_not_a_key(database: Database) -> None:
    key, _ = make(database)
    with pytest.raises(UnauthenticatedError):
        enter(database, key.hash)


def test_revoked(database: Database) -> None:
    key, secret = make(database)
    with database.session() as session:
        assert keys.any_usable(session)
        first = keys.revoke(session, key.id).revoked_at
    with database.session() as session:
        assert keys.revoke(session, key.id).revoked_at == first
        assert not keys.any_usable(session)
    assert first is not None
    with pytest.raises(UnauthenticatedError):
        enter(database, secret)


def test_expired_by_the_databases_clock(database: Database) -> None:
    key, secret = make(database, expires_at=datetime.now(UTC) + timedelta(hours=1))
    enter(database, secret)
    with database.session() as session:
        session.execute(text("UPDATE api_keys SET expires_at = now() - interval '1 ms'"))
    with pytest.raises(UnauthenticatedError):
        enter(database, secret)
    with database.session() as session:
        assert not keys.any_usable(session)
        assert [one.id for one in keys.list_keys(session)] == [key.id]


def test_revoking_an_unknown_key(database: Database) -> None:
    with pytest.raises(NotFoundError), database.session() as session:
        keys.revoke(session, "key_none")


def test_use_is_noted_now_and_then(database: Database) -> None:
    _, secret = make(database)

    def used_at() -> datetime | None:
        with database.session() as session:
            return keys.list_keys(session)[0].last_used_at

    assert used_at() is None
    enter(database, secret)
    first = used_at()
    enter(database, secret)
    assert first is not None
    assert used_at() == first
    with database.session() as session:
        session.execute(text("UPDATE api_keys SET last_used_at = now() - interval '61 s'"))
    enter(database, secret)
    last = used_at()
    assert last is not None
    assert last > first


def test_requests_of_one_key_do_not_wait_for_each_other(database: Database) -> None:
    _, secret = make(database)
    entered = threading.Event()
    with database.session() as slow:
        keys.authenticate(slow, secret)
        thread = threading.Thread(target=lambda: (enter(database, secret), entered.set()))
        thread.start()
        assert entered.wait(5)
        thread.join()
