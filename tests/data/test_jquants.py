"""J-Quants through its real client package, against a server that speaks its API."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import date, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jquantsapi
import polars as pl
import pytest

from gogooku3.config import DatasetConfig
from gogooku3.data.build import build
from gogooku3.data.header import read_header
from gogooku3.data.jquants import BARS, fetch
from gogooku3.data.jquants.service import JQuants
from gogooku3.errors import (
    CredentialsError,
    MissingExtraError,
    SourceDataError,
    SourceUnavailableError,
)
from gogooku3.events import BuildRequest

# The client package sorts frames in place, which Pandas is about to give up.
pytestmark = pytest.mark.filterwarnings("ignore:The inplace keyword")

KEY = "the-key-of-the-test"
START, END = date(2023, 12, 25), date(2024, 1, 12)
HOLIDAYS = {date(2024, 1, 1), date(2024, 1, 2), date(2024, 1, 3), date(2024, 1, 8)}
PAGE = 2
"""Rows the server gives at once."""
SPLIT_DAY = date(2024, 1, 5)
STOCKS = {"13010": ("0050", "1"), "72030": ("3700", "6"), "99990": ("9999", "99")}
"""Code: S33, S17. The last is a fund."""


def days(start: date, end: date) -> list[date]:
    every = [start + timedelta(days=n) for n in range((end - start).days + 1)]
    return [day for day in every if day.weekday() < 5 and day not in HOLIDAYS]


class Service(ThreadingHTTPServer):
    """Holds the market; `faults` are answered, one after the other, before anything else is."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.faults: list[tuple[int, dict[str, str]]] = []
        self.last_day = END

    def rows(self, path: str, query: dict[str, str]) -> list[dict[str, Any]]:
        if path == "/v2/markets/calendar":
            start, end = (date.fromisoformat(query[name]) for name in ("from", "to"))
            every = [start + timedelta(days=n) for n in range((end - start).days + 1)]
            is_open = set(days(start, end))
            return [
                {"Date": day.isoformat(), "HolDiv": "1" if day in is_open else "0"} for day in every
            ]
        day = date.fromisoformat(query["date"])
        if path == "/v2/equities/master":
            return [self.listed(day, code) for code in STOCKS]
        return [self.bar(day, code) for code in STOCKS] if day <= self.last_day else []

    @staticmethod
    def listed(day: date, code: str) -> dict[str, Any]:
        s33, s17 = STOCKS[code]
        names = ("CoName", "CoNameEn", "S17Nm", "S33Nm", "ScaleCat", "MktNm", "Mrgn", "MrgnNm")
        known = {"Date": day.isoformat(), "Code": code, "S33": s33, "S17": s17, "Mkt": "0111"}
        return known | dict.fromkeys((*names, "ProdCat"), "x")

    @staticmethod
    def bar(day: date, code: str) -> dict[str, Any]:
        """13010 splits one to two on SPLIT_DAY and is not traded on the 10th."""
        splits = code == "13010"
        close = 100.0 + (day - START).days + (100 * (len(code)))
        scale = 0.5 if splits and day >= SPLIT_DAY else 1.0
        raw: dict[str, Any] = {
            "Date": day.isoformat(),
            "Code": code,
            "O": close * scale,
            "H": (close + 4) * scale,
            "L": (close - 4) * scale,
            "C": close * scale,
            "Vo": 1000.0 / scale,
            "Va": close * 1000.0,
            "AdjFactor": 0.5 if splits and day == SPLIT_DAY else 1.0,
        }
        if splits and day == date(2024, 1, 10):
            raw |= dict.fromkeys(("O", "H", "L", "C"), None) | {"Vo": 0.0}
        # As of the last day: what a request of today would say.
        back = 0.5 if splits and day < SPLIT_DAY else 1.0
        return raw | {"AdjC": None if raw["C"] is None else raw["C"] * back}


class Handler(BaseHTTPRequestHandler):
    server: Service

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        self.server.asked.append((parts.path, query))
        if self.server.faults:
            status, headers = self.server.faults.pop(0)
            self.answer(status, {"message": f"fault {status}"}, headers)
        elif self.headers["x-api-key"] != KEY:
            self.answer(403, {"message": "The API key is not valid."}, {})
        else:
            rows = self.server.rows(parts.path, query)
            first = int(query.get("pagination_key", 0))
            payload: dict[str, Any] = {"data": rows[first : first + PAGE]}
            if first + PAGE < len(rows):
                payload["pagination_key"] = str(first + PAGE)
            self.answer(200, payload, {})

    def answer(self, status: int, payload: dict[str, Any], headers: dict[str, str]) -> None:
        body = json.dumps(payload).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *values: object) -> None:
        """Keep the test's output clean."""


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Service]:
    with Service() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        address = f"http://127.0.0.1:{server.server_address[1]}/v2"
        monkeypatch.setattr(jquantsapi.ClientV2, "JQUANTS_API_BASE", address)
        monkeypatch.setenv("JQUANTS_API_KEY", KEY)
        monkeypatch.setenv("HOME", str(tmp_path / "nobody"))
        yield server
        server.shutdown()
        thread.join()


def fetched(folder: Path, end: date = END, **options: Any) -> pl.DataFrame:
    # Nothing here has a limit of requests but the server of the test.
    return pl.read_parquet(fetch(folder, START, end, requests_per_minute=60_000, **options))


def bars_asked(service: Service) -> list[str]:
    return [query["date"] for path, query in service.asked if path.endswith("bars/daily")]


def test_bars_are_those_of_every_trading_day(service: Service, tmp_path: Path) -> None:
    bars = fetched(tmp_path)
    assert bars["date"].unique().sort().to_list() == days(START, END)
    # The fund is left out, the pages are put together, rows are in order.
    assert bars["code"].unique().sort().to_list() == ["13010", "72030"]
    assert bars.equals(bars.sort("date", "code"))
    assert bars.filter(code="13010")["sector33"].unique().to_list() == ["0050"]
    assert bars.filter(code="72030")["sector17"].unique().to_list() == ["6"]
    assert fetched(tmp_path, stocks_only=False)["code"].n_unique() == 3
    masters = [query["date"] for path, query in service.asked if path.endswith("master")]
    assert masters == ["2023-12-25", "2023-12-25", "2024-01-04", "2024-01-04"]  # two pages each


def test_prices_are_adjusted_as_the_service_would_today(service: Service, tmp_path: Path) -> None:
    bars = fetched(tmp_path)
    for row in bars.iter_rows(named=True):
        wanted = service.bar(row["date"], row["code"])["AdjC"]
        assert row["close"] == (None if wanted is None else pytest.approx(wanted))
    split = bars.filter(code="13010")
    # Without a trade there is no price, and no split changes the money that was traded.
    assert split.filter(date=date(2024, 1, 10))["close"].to_list() == [None]
    around = split.filter(pl.col("date").is_in([date(2024, 1, 4), SPLIT_DAY]))
    assert around["volume"].to_list() == [2000.0, 2000.0]
    assert around["close"].pct_change().abs().max() < 0.01  # type: ignore[operator]


def test_days_fetched_before_a_split_fit_those_after(service: Service, tmp_path: Path) -> None:
    service.last_day = date(2024, 1, 4)
    early = fetched(tmp_path, end=date(2024, 1, 4))
    assert early.filter(code="13010")["close"].to_list() == [
        service.bar(day, "13010")["C"] for day in days(START, date(2024, 1, 4))
    ]
    service.last_day = END
    assert fetched(tmp_path).equals(fetched(tmp_path / "at once"))


def test_what_is_there_is_not_fetched_again(service: Service, tmp_path: Path) -> None:
    service.last_day = date(2024, 1, 10)
    first = fetched(tmp_path)
    assert first["date"].max() == date(2024, 1, 10)
    service.asked.clear()
    service.last_day = END
    told: list[tuple[str, float]] = []
    assert fetched(tmp_path, progress=lambda *step: told.append(step))["date"].max() == END
    assert sorted(set(bars_asked(service))) == ["2024-01-11", "2024-01-12"]
    shares = [share for _, share in told]
    assert shares == sorted(shares)
    assert told[-1] == ("fetched", 1.0)
    assert "J-Quants 2024-01-11" in dict(told)


def test_an_interruption_keeps_whole_days_only(service: Service, tmp_path: Path) -> None:
    def stop(stage: str, share: float) -> None:
        if share > 0.4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetched(tmp_path, progress=stop)
    before = len(set(bars_asked(service)))
    assert 0 < before < len(days(START, END))
    assert not [path for path in tmp_path.rglob("*") if path.name.startswith(".")]
    service.asked.clear()
    fetched(tmp_path)
    assert len(set(bars_asked(service))) == len(days(START, END)) - before


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_passing_fault_is_waited_out(service: Service, tmp_path: Path, status: int) -> None:
    service.faults = [(status, {"Retry-After": "0"})] * 3
    assert len(fetched(tmp_path, end=date(2023, 12, 26))) == 4
    assert [path for path, _ in service.asked[:4]] == ["/v2/markets/calendar"] * 4


def test_a_lasting_fault_ends_and_keeps_what_was_fetched(service: Service, tmp_path: Path) -> None:
    fetched(tmp_path, end=date(2023, 12, 26))
    service.faults = [(429, {"Retry-After": "0"})] * 10_000
    with pytest.raises(SourceUnavailableError, match=r"429.*kept"):
        fetched(tmp_path, give_up_s=0.2)
    assert len(list((tmp_path / "days").iterdir())) == 2
    service.shutdown()
    service.server_close()
    with pytest.raises(SourceUnavailableError, match="cannot be reached"):
        fetched(tmp_path, give_up_s=0.0)


@pytest.mark.parametrize(
    ("status", "error", "match"),
    [
        (401, CredentialsError, "JQUANTS_API_KEY"),
        (403, CredentialsError, "fault 403.*plan"),
        (400, SourceDataError, "fault 400"),
    ],
)
def test_a_refusal_is_told_at_once(
    service: Service, tmp_path: Path, status: int, error: type[Exception], match: str
) -> None:
    service.faults = [(status, {})]
    with pytest.raises(error, match=match):
        fetched(tmp_path)
    assert len(service.asked) == 1


def test_a_wrong_key_a_missing_key_and_a_missing_package(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JQUANTS_API_KEY", "another")
    with pytest.raises(CredentialsError, match="key is not valid"):
        fetched(tmp_path)
    monkeypatch.delenv("JQUANTS_API_KEY")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CredentialsError, match="set JQUANTS_API_KEY"):
        fetched(tmp_path)
    (tmp_path / "jquants-api.toml").write_text(f'[jquants-api-client]\napi_key = "{KEY}"\n')
    assert len(fetched(tmp_path / "by file", end=START)) == 2
    monkeypatch.setitem(sys.modules, "jquantsapi", None)
    with pytest.raises(MissingExtraError, match=r"gogooku3\[jquants\]"):
        fetched(tmp_path)


def test_a_span_without_bars_is_an_error(service: Service, tmp_path: Path) -> None:
    with pytest.raises(SourceDataError, match="open on 0 days"):
        fetch(tmp_path, date(2024, 1, 1), date(2024, 1, 3))
    service.last_day = date(2023, 1, 1)
    with pytest.raises(SourceDataError, match="no bars"):
        fetched(tmp_path)


def test_an_answer_of_another_shape_and_a_damaged_day_are_errors(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched(tmp_path)
    (tmp_path / "days" / "2024-01-05.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(SourceDataError, match=r"damaged.*remove it"):
        fetched(tmp_path)
    monkeypatch.setattr(service, "rows", lambda path, query: [{"Date": "2024-01-04", "Kind": "1"}])
    with pytest.raises(SourceDataError, match="lacks HolDiv"):
        fetched(tmp_path / "other")


def test_requests_are_paced(service: Service) -> None:
    jquants = JQuants(requests_per_minute=600)
    began = time.monotonic()
    for _ in range(4):
        jquants.trading_days(START, START)
    assert time.monotonic() - began >= 0.3


def test_a_dataset_is_built_of_it_by_the_builder(service: Service, tmp_path: Path) -> None:
    """The real builder process: progress, the dataset, and no trace of the key."""
    start = date(2023, 9, 20)
    config = DatasetConfig.model_validate(
        {
            "source": {"kind": "jquants", "start": start, "end": END, "requests_per_minute": 600},
            "horizons": [1],
            "features": ["return_1", "close_location_5"],
        }
    )
    store = tmp_path / "store"
    fetch(store, start, date(2024, 1, 10), requests_per_minute=60_000)
    out = tmp_path / "out" / "jq.arrow"
    out.parent.mkdir()
    request = BuildRequest(config=config, name="jq", out=out, source=store)
    address = jquantsapi.ClientV2.JQUANTS_API_BASE
    run = (
        "import sys, jquantsapi\n"
        f"jquantsapi.ClientV2.JQUANTS_API_BASE = {address!r}\n"
        "from gogooku3.data.task import main\n"
        "sys.exit(main())"
    )
    read, write = os.pipe()
    with open(read, "rb") as events:
        done = subprocess.run(
            [sys.executable, "-c", run, "--events-fd", str(write)],
            input=request.model_dump_json().encode(),
            pass_fds=[write],
            capture_output=True,
            timeout=120,
            check=False,
        )
        os.close(write)
        told = [json.loads(line) for line in events]
    assert done.returncode == 0, (done.stdout, told)
    stages = [event["stage"] for event in told if "stage" in event]
    assert stages[-1] == "written"  # stages that follow fast are not all told
    header = read_header(out)
    assert header.calendar[-1] == END
    assert header.source["file"] == BARS
    written = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    for content in (*written, done.stdout, done.stderr, json.dumps(told).encode()):
        assert KEY.encode() not in content
    assert build(store / BARS, name="again", out=tmp_path / "again.arrow", horizons=(1,))
