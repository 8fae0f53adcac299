"""`compile`: the same result when it works, the model itself when it does not."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from gogooku3.config import TrainConfig
from gogooku3.events import Event, WarningEvent
from gogooku3.optim import OPTIMIZERS
from gogooku3.training.compiled import compiled
from gogooku3.training.experiment import Experiment
from gogooku3.training.trainer import train

MakeConfig = Callable[..., TrainConfig]


# Dynamo looks at the gradients of views itself, and torch warns of that.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")
def test_a_compiled_model_has_the_gradient_of_the_model(
    tiny: Path, make_config: MakeConfig
) -> None:
    """Captured for real, with any number of stocks; the code generator needs a C++ compiler and
    minutes, so it is left out here."""
    experiment = Experiment.open(make_config(model={"kind": "lstm", "dropout": 0.0}), tiny, "cpu")
    model, warnings = experiment.model, []
    days = experiment.split.train_D
    before = {name: value.clone() for name, value in model.state_dict().items()}
    forward = compiled(model, experiment.feed.batch(days[:1]), warnings.append, backend="eager")
    assert not warnings
    assert forward is not model
    assert all(torch.equal(model.state_dict()[name], before[name]) for name in before)
    found = []
    for call in (model, forward):
        batch = experiment.feed.batch(days[3:5])
        call(batch).score_BNK.square().sum().backward()
        found.append([p.grad.clone() for p in model.parameters() if p.grad is not None])
        model.zero_grad(set_to_none=True)
    for mine, theirs in zip(*found, strict=True):
        torch.testing.assert_close(theirs, mine, atol=1e-6, rtol=1e-5)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
def test_a_compiled_atft_gat_fan_serves_every_number_of_stocks(
    tiny: Path, make_config: MakeConfig
) -> None:
    """Two GAT layers, dropout, blocks of days: captured once, and not again for other sizes."""
    config = make_config(
        model={
            "fan": {"kind": "streaming", "top_k": 1},
            "encoder": {"kind": "attention"},
            "gat": {"layers": 2},
        },
        batch={"days_per_step": 4, "block_days": 4},
    )
    experiment = Experiment.open(config, tiny, "cpu")
    warnings: list[str] = []
    learner, days = experiment.learner, experiment.split.train_D
    assert learner is not None
    forward = compiled(
        experiment.model, learner.first_batch(days), warnings.append, backend="eager"
    )
    assert not warnings
    captured = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    for stocks in (20, 23, 31):
        batch = experiment.feed.batch(days[4:8], stocks, torch.Generator().manual_seed(stocks))
        forward(batch).score_BNK.sum().backward()
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == captured


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
def test_a_compiled_run_is_that_of_the_model(
    tiny: Path, tmp_path: Path, make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    capture = torch.compile

    def without_code_generator(model: Any, **options: Any) -> Any:
        return capture(model, backend="eager", **options)

    monkeypatch.setattr(torch, "compile", without_code_generator)
    events: list[Event] = []
    results = [
        train(
            make_config(max_epochs=1, compile=is_compiled, model={"kind": "mlp", "dropout": 0.0}),
            dataset=tiny,
            out_dir=tmp_path / str(is_compiled),
            on_event=events.append,
        )
        for is_compiled in (False, True)
    ]
    assert not [event for event in events if isinstance(event, WarningEvent)]
    plain, same = (result.best_metrics["train/loss"] for result in results)
    assert same == pytest.approx(plain, abs=1e-6)


def test_what_cannot_be_compiled_runs_as_it_is(
    tiny: Path, tmp_path: Path, make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, Any]] = []

    def broken(model: Any, **options: Any) -> Any:
        asked.append(options)
        raise RuntimeError("no compiler\nat all")

    monkeypatch.setattr(torch, "compile", broken)
    events: list[Event] = []
    config = make_config(max_epochs=1, compile=True, model={"kind": "lstm", "hidden_size": 8})
    result = train(config, dataset=tiny, out_dir=tmp_path, on_event=events.append)
    assert result.outcome == "completed"
    assert asked == [{"dynamic": True}]
    (warning,) = [event for event in events if isinstance(event, WarningEvent)]
    assert warning.code == "not-compiled"
    assert warning.message.endswith("RuntimeError: no compiler")


TRAIN_AND_SCORE = """
import json, sys
from pathlib import Path
from gogooku3.config import TrainConfig
from gogooku3.training.checkpoint import load_model
from gogooku3.training.trainer import train

dataset, out_dir, configs = sys.argv[1:]
for number, config in enumerate(json.loads(configs)):
    result = train(
        TrainConfig.model_validate(config),
        dataset=Path(dataset),
        out_dir=Path(out_dir) / str(number),
        on_event=lambda event: None,
    )
    load_model(result.best_checkpoint).score(Path(dataset))
print([name for name in ("torch._dynamo", "torch._inductor", "sympy") if name in sys.modules])
"""


def test_a_run_that_is_not_compiled_does_not_load_the_compiler(
    tiny: Path, tmp_path: Path, make_config: MakeConfig
) -> None:
    """It would cost every trainer two seconds at its start."""
    configs = [
        make_config(max_epochs=1, optimizer={"kind": kind}).model_dump(mode="json")
        for kind in OPTIMIZERS
    ]
    done = subprocess.run(
        [sys.executable, "-c", TRAIN_AND_SCORE, tiny, tmp_path, json.dumps(configs)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[]\n"
