"""`gogooku3 keys`, `audit` and `db`: on the home's own PostgreSQL, started for a command alone, or
on a server that is there."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from app.embedded.home import UpRecord, start_ticks, write_up


def test_keys_are_made_listed_and_revoked_without_a_server(gogooku3: Any, home: Path) -> None:
    made = gogooku3("keys", "create", "me", "--scope", "admin", "--expires-days", "7", "--json")
    assert made.returncode == 0, made.stderr
    key = json.loads(made.stdout)
    assert key["key"].startswith("gk_")
    assert key["scope"] == "admin"

    listed = gogooku3("keys", "list")
    assert key["id"] in listed.stdout
    assert key["key"] not in listed.stdout, "the secret is shown once"

    assert gogooku3("keys", "revoke", key["id"]).returncode == 0
    items = json.loads(gogooku3("keys", "list", "--json").stdout)["items"]
    assert [item["revoked_at"] is not None for item in items] == [True]
    unknown = gogooku3("keys", "revoke", "key_none")
    assert unknown.returncode == 1
    assert "key_none" in unknown.stderr
    assert gogooku3("keys", "create", "me", "--scope", "root").returncode == 2
    assert not (home / "up.json").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells when a process began")
def test_pid_of_a_killed_server_may_be_anothers(gogooku3: Any, home: Path) -> None:
    nowhere = "postgresql+psycopg://gogooku3@/gogooku3?host=/nowhere"
    dead = UpRecord(
        pid=os.getpid(),
        started=(start_ticks(os.getpid()) or 0) - 1,
        url="http://127.0.0.1:1",
        database_url=nowhere,
        redis_url="",
    )
    write_up(home, dead)
    done = gogooku3("db", "upgrade")
    assert done.returncode == 0, done.stderr


def test_db_upgrade_says_what_it_did(gogooku3: Any, empty_database_url: str) -> None:
    def upgrade(*options: str) -> str:
        done = gogooku3("db", "upgrade", *options, GOGOOKU3_DATABASE_URL=empty_database_url)
        return str(done.stdout)

    first = json.loads(upgrade("--json"))
    assert first["before"] is None
    assert first["after"]
    assert "newest schema" in upgrade()


def test_changes_are_told_in_the_audit_log(gogooku3: Any, database_url: str) -> None:
    def run(*arguments: str) -> str:
        return str(gogooku3(*arguments, GOGOOKU3_DATABASE_URL=database_url).stdout)

    made = json.loads(run("keys", "create", "me", "--requests-per-minute=60", "--json"))
    run("keys", "revoke", made["id"])
    told = json.loads(run("audit", "--target", made["id"], "--json"))["items"]
    assert [one["action"] for one in told] == ["gogooku3 keys revoke", "gogooku3 keys create"]
    assert all(one["actor"].startswith("cli:") for one in told)
    assert "keys create" not in run("audit", "--actor", "nobody")
