"""The commands that train and name models, as typed; what they do is tested in ``training``."""

import os
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from threading import Thread
from time import sleep

import pytest
from typer.testing import CliRunner

from napari_sam._cli import app
from napari_sam.core.registry import get_spec
from napari_sam.core.weights import weights_path
from napari_sam.progress import Progress
from napari_sam.training import command_finetune
from napari_sam.training.finetune import FinetuneResult
from napari_sam.training.params import FinetuneParams
from napari_sam.training.run_folder import lock_of, read_report
from napari_sam.training.validation import Figures

runner = CliRunner()


@pytest.fixture(autouse=True)
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAPARI_SAM_MODELS", str(tmp_path / "models"))


@pytest.mark.parametrize(
    ("command", "option"),
    [
        ("train", "--mask-only-rounds"),
        ("finetune", "--scope"),
        ("pretrain", "--masked"),
        ("pack", "--megabytes"),
    ],
)
def test_help_is_that_of_the_settings(command: str, option: str):
    result = runner.invoke(app, [command, "--help"])
    assert result.exit_code == 0
    assert f"napari-sam {command}" in result.output and option in result.output


def test_errors_are_sentences_with_codes(tmp_path: Path):
    result = runner.invoke(app, ["train", str(tmp_path / "run"), "--export", "x.safetensors"])
    assert result.exit_code == 8
    assert "has no checkpoint" in result.output
    result = runner.invoke(app, ["finetune", "mine", "--images", str(tmp_path / "none")])
    assert result.exit_code == 3
    assert "none is no folder" in result.output.replace("\n", " ")


def test_finetune_hands_over_what_was_typed(tmp_path: Path, monkeypatch):
    asked = {}

    def fake(samples: list, name: str, folder: Path, params: FinetuneParams, **more) -> Iterator:
        asked.update(more, samples=samples, name=name, folder=folder, params=params)
        yield Progress(1, 2, "step 1")
        figures = Figures(0.5, 0.6, 0.7, 0.8, 9)
        return FinetuneResult(figures, figures, 0, None, ("a",))

    monkeypatch.setattr(command_finetune, "fine_tune", fake)
    monkeypatch.setattr(command_finetune, "read_labelled", lambda path: iter([path, path, path]))
    words = "finetune mine --images a --images b --most-images 5 --scope lora --steps 7 --replace"
    result = runner.invoke(app, [*words.split(), "--run", str(tmp_path)])
    assert result.exit_code == 0, result.output
    assert (asked["name"], asked["folder"], asked["base"]) == ("mine", tmp_path, "tiny")
    assert asked["replace_old"] and asked["weights"] is None
    assert (asked["params"].scope, asked["params"].steps) == ("lora", 7)
    assert len(asked["samples"]) == 5
    assert "| box | 0.700 | 0.700 | +0.000 |" in result.output
    assert "nothing was registered" in result.output


def test_a_window_is_told_and_its_end_is_the_end(tmp_path: Path, monkeypatch):
    ours, theirs = os.pipe()
    closed = []

    def endless(*_, pictures: bool, **__) -> Iterator:
        assert pictures
        try:
            for step in count(1):
                yield Progress(step, 99, f"step {step}")
                if step == 3:
                    os.close(theirs)  # the window is gone
        finally:
            closed.append(step)

    monkeypatch.setattr(command_finetune, "STDIN", ours)
    monkeypatch.setattr(command_finetune, "fine_tune", endless)
    monkeypatch.setattr(command_finetune, "read_labelled", lambda path: iter([path]))
    monkeypatch.setattr(os, "nice", lambda by: by, raising=False)
    (tmp_path / "pause").touch()  # it waits before the second step
    words = ["finetune", "mine", "--images", "a", "--run", str(tmp_path), "--attended"]
    done = Thread(target=lambda: (sleep(0.5), (tmp_path / "pause").unlink()))
    done.start()
    result = runner.invoke(app, words)
    done.join()
    os.close(ours)
    assert result.exit_code == 0, result.output
    assert closed and closed[0] >= 3
    assert read_report(tmp_path).total == 99
    with lock_of(tmp_path):
        result = runner.invoke(app, words[:-1])
    assert result.exit_code == 8 and "another program is training" in result.output


def test_weights_get_a_name_and_lose_it(tmp_path: Path):
    file = weights_path(get_spec("tiny"))
    result = runner.invoke(app, ["models", "add", "mine", str(file)])
    assert result.exit_code == 0, result.output
    assert "made here" in runner.invoke(app, ["models", "list"]).output
    assert get_spec("mine").like == "tiny"
    assert runner.invoke(app, ["models", "remove", "mine"]).exit_code == 0
    assert runner.invoke(app, ["models", "remove", "mine"]).exit_code == 5
    (tmp_path / "bad.safetensors").write_bytes(b"no weights")
    assert runner.invoke(app, ["models", "add", "x", str(tmp_path / "bad.safetensors")]).exit_code
    assert "x" not in runner.invoke(app, ["models", "list"]).output.split()
