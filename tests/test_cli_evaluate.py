"""The command ``evaluate`` as a user meets it: files, words, exit codes."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from napari_sam import _cli_models
from napari_sam._cli import app
from napari_sam.core.registry import get_spec
from tests.evaluation.fakes import PerfectPredictor, discs


class Loaded(PerfectPredictor):
    """As the command loads it: with an entry in the registry."""

    spec = get_spec("tiny")

    def __init__(self, labels: np.ndarray, blind_rounds: int = 0) -> None:
        super().__init__(labels, blind_rounds)
        self.runtime = type("Runtime", (), {"describe": lambda _: "by heart"})()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    labels = discs()
    path = tmp_path / "cells"
    path.mkdir()
    for name in "ab":
        Image.fromarray(np.where(labels > 0, 180, 30).astype(np.uint8)).save(path / f"{name}.png")
        Image.fromarray(labels.astype(np.uint8)).save(path / f"{name}_label.png")
    return path


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names that were loaded; the second model is blind at first."""
    names: list[str] = []

    def load(name: str, weights: Path | None, *_: object) -> Loaded:
        names.append(name)
        return Loaded(discs(), blind_rounds=2 if weights else 0)

    monkeypatch.setattr(_cli_models, "load", load)
    return names


def evaluate(*arguments: str | Path) -> Result:
    environment = {"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"}
    command = [str(one) for one in ("evaluate", *arguments)]
    return CliRunner().invoke(app, command, env=environment)


def test_tables_are_printed_and_all_files_written(
    folder: Path, loaded: list[str], tmp_path: Path
) -> None:
    card, page = tmp_path / "card.md", tmp_path / "page.html"
    card.write_text("# Card\n<!-- figures: interactive -->\nold\n<!-- /figures -->\nend\n")
    result = evaluate(
        folder, "--clicks", "3", "--max-objects", "2", "--card", card, "--html", page,
        "--json", tmp_path / "all.json", "--markdown", tmp_path / "all.md",
        "--pictures", tmp_path / "shown", "--results", tmp_path / "kept",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "| cells † | 2 | 4 | 1.000 [1.00, 1.00] |" in result.stdout
    assert (tmp_path / "all.md").read_text() in result.stdout + "\n"
    figures = card.read_text()
    assert figures.startswith("# Card\n<!-- figures: interactive -->\n\n### Mean IoU over objects")
    assert "#### Provenance\n\n- model: tiny" in figures
    assert figures.endswith("<!-- /figures -->\nend\n")
    assert (
        len(json.loads((tmp_path / "all.json").read_text())["results"]["tiny"]["interactive"]) == 4
    )
    assert "<svg" in page.read_text()
    assert {path.name for path in (tmp_path / "shown").iterdir()} == {
        f"cells_{prompt}.png" for prompt in ("click", "clicks", "box")
    }
    lines = (tmp_path / "kept" / "tiny" / "interactive.jsonl").read_text().split()
    assert lines


def test_two_models_side_by_side(folder: Path, loaded: list[str], tmp_path: Path) -> None:
    own = tmp_path / "own.safetensors"
    own.write_bytes(b"weights")
    result = evaluate(folder, "-m", "tiny", "-m", f"tiny={own}", "--clicks", "1")
    assert result.exit_code == 0, result.output
    assert loaded == ["tiny", "tiny"]
    assert "| cells † | tiny | 2 | 8 | 1.000" in result.stdout
    assert f"| cells † | tiny={own} | 2 | 8 | 0." in result.stdout
    refused = evaluate(folder, "-m", "tiny", "-m", "vit_b", "--weights", own)
    assert refused.exit_code == 2
    assert "--weights is for one model" in " ".join(refused.stderr.split())


def test_a_card_without_a_place_for_a_protocol_is_refused_before_anything_is_asked(
    folder: Path, loaded: list[str], tmp_path: Path
) -> None:
    card = tmp_path / "card.md"
    card.write_text("<!-- figures: interactive -->\n<!-- /figures -->\n")
    result = evaluate(folder, "--protocol", "automatic", "--card", card)
    assert result.exit_code == 8
    assert "no place for the figures of 'automatic'" in result.stderr
    assert not loaded


def test_a_folder_without_labels_is_refused_in_a_sentence(
    tmp_path: Path, loaded: list[str]
) -> None:
    result = evaluate(tmp_path)
    assert result.exit_code == 3
    assert "has no labelled images" in result.stderr


def test_results_of_other_settings_are_refused(
    folder: Path, loaded: list[str], tmp_path: Path
) -> None:
    kept = tmp_path / "kept"
    assert evaluate(folder, "--clicks", "1", "--results", kept).exit_code == 0
    result = evaluate(folder, "--clicks", "2", "--results", kept)
    assert result.exit_code == 8
    assert "clicks = 1, now it is 2" in " ".join(result.stderr.split())
