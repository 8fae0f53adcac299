"""The server, the client and the specification start without torch."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    "module", ["gogooku3.config", "gogooku3.events", "gogooku3.client", "gogooku3.data.header"]
)
def test_import_brings_no_torch_and_no_polars(module: str) -> None:
    code = f"import sys, {module}; print([m for m in ('torch', 'polars') if m in sys.modules])"
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert out.stdout.strip() == "[]"


@pytest.mark.parametrize("module", ["app.main", "worker.main"])
def test_processes_load_optuna_only_for_a_sweep(module: str) -> None:
    code = f"import sys, {module}; print([m for m in ('torch', 'optuna') if m in sys.modules])"
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert out.stdout.strip() == "[]"
