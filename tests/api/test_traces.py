"""A span for each request, once somebody wants to see them."""

from __future__ import annotations

import json
import subprocess
import sys

# A process of its own: who provides traces is decided once in a process.
SCRIPT = """
import asyncio, json
import httpx
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

exporter = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
trace.set_tracer_provider(provider)

from app.main import create_app
from app.settings import Settings

app = create_app(
    Settings(),
    database_url="postgresql+psycopg://",
    redis_url="redis://127.0.0.1:1/0",
    open_access=False,
)

async def ask():
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as http:
        parent = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"
        await http.get("/v1/version", headers={"traceparent": parent})
        await http.get("/v1/jobs/job_01k8z3v8m4e9c2r7t5w6x0y1za")

asyncio.run(ask())
print(json.dumps([
    [span.name, f"{span.context.trace_id:032x}", dict(span.attributes)]
    for span in exporter.get_finished_spans()
    if span.kind is trace.SpanKind.SERVER
]))
"""


def test_every_request_is_a_span_of_its_route_in_the_callers_trace() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False, timeout=120
    )
    assert ran.returncode == 0, ran.stderr
    first, second = json.loads(ran.stdout.splitlines()[-1])
    assert (first[0], first[1]) == ("GET /v1/version", "a" * 32)
    assert first[2]["http.response.status_code"] == 200
    assert second[0] == "GET /v1/jobs/{job_id}", "named by the route: ids do not make new names"
    assert second[2]["http.response.status_code"] == 401
    assert "gk_" not in ran.stdout
