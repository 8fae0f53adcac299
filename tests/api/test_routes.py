"""Every route of the app asks who is there, whoever added it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from fastapi.routing import APIRoute, iter_route_contexts

from app.api.auth import ApiKey
from app.main import create_app
from app.settings import Settings

PUBLIC = {
    ("GET", "/healthz"),
    ("GET", "/readyz"),
    ("GET", "/v1/version"),
    ("GET", "/openapi.json"),
    ("GET", "/docs"),
    ("GET", "/docs/oauth2-redirect"),
    ("GET", "/"),
}
"""What anybody may see: none of it tells of a job. Pages (app.api.pages) are files without data."""
APP = create_app(
    Settings(database_url=None, redis_url=None),
    database_url="postgresql+psycopg://",
    redis_url="redis://127.0.0.1:1/0",
    open_access=False,
)


def routes() -> Iterator[tuple[str, str, Any]]:
    """Method, path and route of everything that is served, mounted apps too."""
    for route in iter_route_contexts(APP.routes):
        for method in sorted(route.methods or {"GET"}):
            yield method, route.path or str(route.original_route), route


def is_public(method: str, path: str, route: Any) -> bool:
    """Whether a route may be served to strangers."""
    method = "GET" if method == "HEAD" else method
    module = getattr(getattr(route, "endpoint", None), "__module__", "")
    return (method, path) in PUBLIC or (method == "GET" and module == "app.api.pages")


PROTECTED = [
    pytest.param(method, path, route, id=f"{method} {path}")
    for method, path, route in routes()
    if not is_public(method, path, route)
]


def depends_on_caller(dependant: Any) -> bool:
    """Whether a route's dependencies, at any depth, find out who is asking."""
    return isinstance(dependant.call, ApiKey) or any(map(depends_on_caller, dependant.dependencies))


@pytest.fixture(scope="module")
def closed(
    serve: Any, settings: Any, dataset: Any, database_url: str, redis_url: str
) -> Iterator[Any]:
    """A server that wants a key from everybody."""
    with serve(settings, database_url, redis_url, open_access=False) as one:
        yield one


def test_there_are_routes_to_protect() -> None:
    assert len(PROTECTED) > 20


@pytest.mark.parametrize(("method", "path", "route"), PROTECTED)
def test_route_asks_who_is_there(closed: Any, method: str, path: str, route: Any) -> None:
    assert isinstance(route.original_route, APIRoute), f"{path} is served without asking for a key"
    assert depends_on_caller(route.dependant), (
        f"{method} {path} does not ask for a key: depend on `reader`, `submitter` or "
        "`administrator`, or add it to PUBLIC here if strangers may see it"
    )
    where = re.sub(r"{[^}]*}", "job_00000000000000000000000000", path)
    answer = httpx.request(method, closed.url + where, trust_env=False, timeout=30)
    assert answer.status_code == 401, "who asks is settled before what is asked"


def test_changes_need_more_than_reading(closed: Any) -> None:
    from app.domain import Scope
    from app.jobs import keys

    with closed.database.session() as session:
        _, secret = keys.create(session, "reader", Scope.READ)
    reads_by_post = {"/v1/metrics/query", "/v1/sweeps/preview"}
    for parameter in PROTECTED:
        method, path, _ = parameter.values
        if method in {"GET", "HEAD"} or path in reads_by_post:
            continue
        where = re.sub(r"{[^}]*}", "job_00000000000000000000000000", path)
        headers = {"Authorization": f"Bearer {secret}"}
        answer = httpx.request(
            method, closed.url + where, headers=headers, trust_env=False, timeout=30
        )
        assert answer.status_code == 403, (method, path, answer.text)


def test_browsers_are_told_what_not_to_do(http: httpx.Client) -> None:
    for path in ("/v1/version", "/v1/jobs", "/v1/nothing", "/healthz"):
        headers = http.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["content-security-policy"].startswith("default-src 'none'")
        assert headers["referrer-policy"] == "no-referrer"
