"""The command runs and leaves its files: a tiny network, tiny pictures, no figure is looked at."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from benchmarks.__main__ import main
from benchmarks.settings import Settings
from napari_sam.core import registry
from tests.parity.peers import available

ROOT = Path(__file__).parents[2]
IN_PROCESS = "encoder,click,batch,automatic,tiles,storage"

pytestmark = pytest.mark.skipif(
    not available("segment_anything"), reason="segment-anything is not installed"
)


@pytest.fixture
def restored(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The command sets things for its whole process."""
    for name in ("OMP_NUM_THREADS", "OMP_WAIT_POLICY"):
        monkeypatch.setenv(name, os.environ.get(name, "1"))
    monkeypatch.setattr(registry, "MODELS", registry.MODELS)
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("restored")
def test_a_quick_run_writes_all_its_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    contenders = "official,ours exact,micro-sam"
    arguments = ["--quick", "--no-memory", "--only", IN_PROCESS, "--contenders", contenders]
    assert main([*arguments, "--threads", "1", "--out", str(tmp_path)]) == 0
    content = json.loads((tmp_path / "results.json").read_text())
    assert {block["suite"] for block in content["blocks"]} == set(IN_PROCESS.split(","))
    assert content["machine"]["threads"] == 1
    for block in content["blocks"]:
        for row in block["rows"]:
            assert row["samples"] or row["skipped"] or row["extra"], (block["suite"], row)
        if block["suite"] in ("encoder", "click", "batch", "automatic"):
            check_same_answers(block)
    tables = (tmp_path / "results.md").read_text()
    assert "skipped: not installed" in tables
    assert tables.count("\n## ") == len(content["blocks"]) + 1  # and the comparison
    assert (tmp_path / "results.svg").read_text().startswith("<svg")
    assert "results.json" in capsys.readouterr().out


def check_same_answers(block: dict) -> None:
    """Official and ours got the same weights, pictures and prompts: else nothing is comparable."""
    (ours,) = (row for row in block["rows"] if row["contender"] == "ours exact")
    numbers = ours["agreement"]["numbers"]
    assert numbers.get("max_over_spread", 0) < 1e-4
    assert numbers.get("min_iou", 1) > 0.999
    if block["suite"] == "automatic":
        assert numbers["masks"] == numbers["base_masks"] > 5


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--only", "speed"], "There is no 'speed'"),
        (["--contenders", "me"], "There is no 'me'"),
        (["--quick", "--record"], "cannot be recorded"),
    ],
)
@pytest.mark.usefixtures("restored")
def test_what_cannot_be_is_refused(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
):
    assert main(arguments) == 2
    assert said in capsys.readouterr().out


def test_settings_reach_a_child() -> None:
    settings = Settings(("vit_b",), ("official", "ours fast"), Path("x"), rounds=5, quick=True)
    assert Settings.from_json(settings.to_json()) == settings


@pytest.mark.parity
def test_a_quick_run_of_everything(tmp_path: Path) -> None:
    """With every peer that is here, fresh processes for memory, cold starts and neighbours."""
    command = [sys.executable, "-m", "benchmarks", "--quick", "--out", str(tmp_path)]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    blocks = json.loads((tmp_path / "results.json").read_text())["blocks"]
    by_suite = {block["suite"]: block for block in blocks}
    assert {"cold", "neighbour"} <= set(by_suite)
    rows = {row["contender"]: row for row in by_suite["encoder"]["rows"]}
    assert rows["ours exact"]["peak_mb"] > 0
    for package in ("transformers", "onnxruntime"):
        if available(package):
            assert rows[package]["agreement"]["numbers"]["max_over_spread"] < 1e-4
