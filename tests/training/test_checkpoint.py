"""A checkpoint holds the model that was trained, and says so truly."""

from __future__ import annotations

import dataclasses
import json
import zipfile
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import torch

import gogooku3
from gogooku3.config import TrainConfig
from gogooku3.data.header import read_header
from gogooku3.errors import CheckpointError, ConfigError, DatasetMismatchError
from gogooku3.training.checkpoint import read_checkpoint
from gogooku3.training.manifest import FORMAT_VERSION
from gogooku3.training.scoring import ScoringModel
from gogooku3.training.trainer import TrainResult, train

MODELS = [
    {},
    {"kind": "atft_gat_fan", "hidden_size": 8, "gat": {"layers": 0}},
    {"kind": "linear"},
    {"kind": "reversal"},
]


@pytest.fixture(scope="module")
def trained(
    tiny: Path, tmp_path_factory: pytest.TempPathFactory, make_config: Callable[..., TrainConfig]
) -> TrainResult:
    folder = tmp_path_factory.mktemp("trained")
    return train(make_config(), dataset=tiny, out_dir=folder, on_event=lambda event: None)


@pytest.fixture
def checkpoint(trained: TrainResult) -> Path:
    assert trained.best_checkpoint is not None
    return trained.best_checkpoint


@pytest.mark.parametrize("model", MODELS, ids=["default", "no-graph", "linear", "reversal"])
def test_reloaded_it_has_the_same_validation_metrics(
    tiny: Path, tmp_path: Path, make_config: Callable[..., TrainConfig], model: dict[str, object]
) -> None:
    config = make_config(max_epochs=1, model=model) if model else make_config(max_epochs=1)
    result = train(config, dataset=tiny, out_dir=tmp_path, on_event=lambda event: None)
    assert result.best_checkpoint is not None
    loaded = gogooku3.load_model(result.best_checkpoint)
    metrics = loaded.evaluate(tiny)
    assert metrics["valid/rank_ic@1"] is not None
    assert metrics == pytest.approx(
        {k: v for k, v in loaded.manifest.metrics.items() if k in metrics}, abs=1e-6
    )
    assert loaded.manifest.metrics["valid/rank_ic"] == result.best_metrics["valid/rank_ic"]


def test_the_manifest_says_what_made_the_model(
    tiny: Path, checkpoint: Path, make_config: Callable[..., TrainConfig]
) -> None:
    with zipfile.ZipFile(checkpoint) as archive:
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}
        assert set(archive.namelist()) == {"manifest.json", "weights.safetensors"}
        manifest = json.loads(archive.read("manifest.json"))
    assert manifest["config"] == make_config().model_dump(mode="json")
    assert manifest["signature"]["features"][0] == "signal"
    assert manifest["dataset"]["name"] == "tiny"
    assert len(manifest["dataset"]["fingerprint"]) == 64
    assert manifest["dataset"]["normalisation"] == "rank"
    assert set(manifest["split"]) == {"train", "valid", "test"}
    assert manifest["environment"]["torch"] == torch.__version__
    assert sum(manifest["selection"].values()) == pytest.approx(1.0, abs=1e-4)
    assert not any(name.startswith(("sys/", "test/")) for name in manifest["metrics"])


def test_scores_of_a_day_best_first(tiny: Path, checkpoint: Path) -> None:
    model = gogooku3.load_model(checkpoint)
    table = model.score(tiny)
    assert table.column_names == ["date", "code", "rank", "score@1", "score@5"]
    scores = table["score@1"].to_pylist()
    assert len(scores) > 20
    assert scores == sorted(scores, reverse=True)
    assert table["rank"].to_pylist() == list(range(1, len(scores) + 1))
    by_week = model.score(tiny, horizon=5)["score@5"].to_pylist()
    assert by_week == sorted(by_week, reverse=True)


def test_a_score_reads_the_day_and_nothing_after_it(
    tmp_path: Path,
    tiny: Path,
    checkpoint: Path,
    make_rows: Callable[..., Any],
    make_cache: Callable[[Path, Any], Path],
) -> None:
    model = gogooku3.load_model(checkpoint)
    day = 70
    reference = scores_of(model, tiny, day)
    later, today = make_rows(), make_rows()
    for rows, changed in ((later, later.day_R > day), (today, today.day_R == day)):
        rows.features_RF[changed] *= -1
        rows.return_R[changed] *= -1
    assert scores_of(model, make_cache(tmp_path / "later.arrow", later), day) == reference
    moved = scores_of(model, make_cache(tmp_path / "today.arrow", today), day)
    assert all(moved[code] != reference[code] for code in reference)


def scores_of(model: ScoringModel, cache: Path, day: int) -> dict[str, float]:
    table = model.score(cache, read_header(cache).calendar[day])
    return dict(zip(table["code"].to_pylist(), table["score@1"].to_pylist(), strict=True))


def test_the_test_split_is_sealed(tiny: Path, checkpoint: Path) -> None:
    with pytest.raises(ConfigError, match="sealed"):
        gogooku3.load_model(checkpoint).evaluate(tiny, "test")


def test_a_dataset_that_does_not_fit_is_refused(
    tmp_path: Path,
    tiny: Path,
    checkpoint: Path,
    calendar: list[date],
    make_rows: Callable[..., Any],
    make_cache: Callable[[Path, Any], Path],
) -> None:
    model = gogooku3.load_model(checkpoint)
    with pytest.raises(DatasetMismatchError, match="trading day"):
        model.score(tiny, calendar[-1].replace(year=2031))
    with pytest.raises(DatasetMismatchError, match="looks back"):
        model.score(tiny, calendar[2])
    with pytest.raises(DatasetMismatchError, match="horizons"):
        model.score(tiny, horizon=7)
    rows = dataclasses.replace(make_rows(), sectors=("a", "b", "c", "d", "e"))
    with pytest.raises(DatasetMismatchError, match="sectors"):
        model.score(make_cache(tmp_path / "sectors.arrow", rows))


def test_damage_is_told_from_a_checkpoint(tmp_path: Path, checkpoint: Path) -> None:
    whole = checkpoint.read_bytes()
    weights = whole.index(b"weights.safetensors") + 2000
    cases = {
        "empty": b"",
        "truncated": whole[: len(whole) // 2],
        "flipped": whole[:weights] + bytes([whole[weights] ^ 1]) + whole[weights + 1 :],
        "text": b"not a zip at all",
    }
    for name, content in cases.items():
        path = tmp_path / f"{name}.gk3"
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=name):
            gogooku3.load_model(path)
    with pytest.raises(CheckpointError, match="no checkpoint"):
        gogooku3.load_model(tmp_path / "absent.gk3")


def test_a_foreign_zip_and_a_later_version_are_refused(tmp_path: Path, checkpoint: Path) -> None:
    foreign = tmp_path / "foreign.gk3"
    with zipfile.ZipFile(foreign, "w") as archive:
        archive.writestr("other.txt", "hello")
    with pytest.raises(CheckpointError, match="not a whole"):
        gogooku3.load_model(foreign)
    later = rewrite(checkpoint, tmp_path / "later.gk3", format_version=FORMAT_VERSION + 1)
    with pytest.raises(CheckpointError, match="update"):
        gogooku3.load_model(later)
    broken = rewrite(checkpoint, tmp_path / "broken.gk3", signature=None)
    with pytest.raises(CheckpointError, match="signature"):
        gogooku3.load_model(broken)


def test_weights_of_another_model_are_refused(tmp_path: Path, checkpoint: Path) -> None:
    manifest, _ = read_checkpoint(checkpoint)
    config = manifest.model_dump(mode="json")["config"]
    config["model"]["selection"]["rank"] = 3
    path = rewrite(checkpoint, tmp_path / "other.gk3", config=config)
    with pytest.raises(CheckpointError, match="don't fit"):
        gogooku3.load_model(path)


def rewrite(source: Path, target: Path, **changes: object) -> Path:
    """The same checkpoint with another manifest."""
    with zipfile.ZipFile(source) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    manifest = json.loads(content["manifest.json"]) | changes
    content["manifest.json"] = json.dumps(manifest).encode()
    with zipfile.ZipFile(target, "w") as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    return target


def test_loading_leaves_the_generator_alone(checkpoint: Path) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    gogooku3.load_model(checkpoint)
    assert torch.equal(torch.rand(3), expected)
