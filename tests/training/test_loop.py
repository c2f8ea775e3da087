"""The loop on a tiny network and drawn scenes: it learns, resumes after a kill, ranks agree."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from napari_sam.core.architecture import MicroConfig
from napari_sam.core.modeling.micro import MicroSam
from napari_sam.training.checkpoint import export_weights, load_checkpoint
from napari_sam.training.loop import Trainer
from napari_sam.training.params import CropShape, TrainParams

SMALL = MicroConfig(
    stage_dims=(8, 16, 16),
    stage_depths=(0, 0, 1),
    embed_dim=32,
    depth=3,
    num_heads=2,
    window_size=4,
    out_chans=32,
    skip_chans=8,
    mask_in_chans=8,
    decoder_depth=2,
    decoder_num_heads=2,
)
PARAMS = TrainParams(
    minutes=60, warmup_steps=5, crops=(CropShape(64, 2, 2, 1.0),), checkpoint_seconds=1e9
)


def make_trainer(folder: Path, **changes: object) -> Trainer:
    torch.manual_seed(0)
    return Trainer(MicroSam(SMALL), replace(PARAMS, **changes), folder)


def advance(trainer: Trainer, steps: int) -> None:
    running = trainer.run(None, workers=0)
    for _ in range(steps):
        next(running)
    running.close()


def test_steps_change_weights_and_average(tmp_path: Path):
    trainer = make_trainer(tmp_path)
    before = trainer.model.mask_decoder.output_tokens.detach().clone()
    advance(trainer, 3)
    assert trainer.step == 3
    assert not torch.equal(before, trainer.model.mask_decoder.output_tokens)
    assert set(trainer.ema) == set(trainer.model.state_dict())


def test_resumed_run_sees_the_same_batches_and_ends_alike(tmp_path: Path):
    """The learning rate follows the clock, so weights agree to a tolerance, not to the bit."""
    whole = make_trainer(tmp_path / "whole")
    advance(whole, 6)
    first = make_trainer(tmp_path / "parts")
    advance(first, 3)
    first.save()
    second = make_trainer(tmp_path / "parts")
    assert second.step == 3
    advance(second, 3)
    for name, value in whole.model.state_dict().items():
        torch.testing.assert_close(second.model.state_dict()[name], value, rtol=5e-2, atol=5e-3)


def test_the_end_of_the_minutes_ends_the_run(tmp_path: Path):
    trainer = make_trainer(tmp_path, minutes=1e-4)
    reports = list(trainer.run(None, workers=0))
    assert len(reports) >= 1
    assert trainer.checkpoint.exists()


@pytest.mark.parametrize("loss", ["roi", "sam"])
def test_both_losses_train(tmp_path: Path, loss: str):
    trainer = make_trainer(tmp_path, loss=loss)
    advance(trainer, 2)
    assert all(torch.isfinite(p).all() for p in trainer.model.parameters())


def test_export_is_half_precision_and_loads(tmp_path: Path):
    from safetensors.torch import load_file

    trainer = make_trainer(tmp_path)
    advance(trainer, 1)
    trainer.save()
    state = load_checkpoint(trainer.checkpoint)
    assert state is not None
    export_weights(state, tmp_path / "weights.safetensors")
    loaded = load_file(tmp_path / "weights.safetensors")
    assert {v.dtype for v in loaded.values()} == {torch.float16}
    assert (tmp_path / "weights.safetensors").stat().st_mode & 0o777 == 0o644
    MicroSam(SMALL).load_state_dict({k: v.float() for k, v in loaded.items()}, strict=True)


SCRIPT = """
import sys
from pathlib import Path
from tests.training.test_loop import make_trainer
trainer = make_trainer(Path(sys.argv[1]), checkpoint_seconds=0.0)
print("ready", trainer.step, flush=True)
for _ in trainer.run(None, workers=0):
    print(trainer.step, flush=True)
"""


def test_killed_while_saving_resumes_from_a_whole_checkpoint(tmp_path: Path):
    reached = 0
    for kill_after in (2, 3, 4):
        process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(tmp_path)],
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        assert process.stdout is not None
        start = int(process.stdout.readline().split()[1])
        assert start >= reached - 1  # at most the step that was being written is lost
        for _ in range(kill_after):
            reached = int(process.stdout.readline())
        time.sleep(0.01 * kill_after)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
    assert load_checkpoint(tmp_path / "checkpoint.pt") is not None


def test_the_log_is_lines_of_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("napari_sam.training.loop.LOG_EVERY", 2)
    advance(make_trainer(tmp_path), 4)
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [2, 4]
    assert {"loss", "auxiliary", "score_error"} <= set(lines[0])
