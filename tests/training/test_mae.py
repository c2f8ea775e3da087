"""Masked pre-training: what is hidden, what is guessed, and that a run can start from it."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from napari_sam.core.modeling.micro import MicroSam
from napari_sam.core.modeling.sam import build_sam
from napari_sam.errors import TrainingError
from napari_sam.training import command_pretrain
from napari_sam.training.loop import Trainer
from napari_sam.training.mae import PATCH, MaskedObjective, hide, normalise_patches
from napari_sam.training.pictures import read_pictures
from napari_sam.training.weights import start_from
from tests.training.small import PARAMS, SMALL, SMALL_SAM


def test_three_quarters_of_the_patches_are_hidden_whole():
    hidden = hide(torch.zeros(3, 3, 128, 64), 0.75, torch.Generator().manual_seed(0))
    assert hidden.shape == (3, 1, 128, 64)
    assert hidden.float().mean((1, 2, 3)).tolist() == [0.75] * 3
    patches = hidden.view(3, 128 // PATCH, PATCH, 64 // PATCH, PATCH).float().mean((2, 4))
    assert set(patches.flatten().tolist()) == {0.0, 1.0}
    assert not torch.equal(patches[0], patches[1])


def test_patches_are_normalised_each_and_flat_ones_stay_flat():
    images = torch.rand(2, 3, 32, 48) * 100
    images[0, :, :PATCH, :PATCH] = 7
    normal = normalise_patches(images)
    assert normal[0, :, :PATCH, :PATCH].abs().max() == 0
    other = normal[1, :, PATCH:, :PATCH]
    assert other.mean().abs() < 1e-4 and other.std().item() == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("network", [lambda: MicroSam(SMALL), lambda: build_sam(SMALL_SAM)])
def test_the_encoder_learns_and_nothing_else(tmp_path: Path, network):
    torch.manual_seed(0)
    model = network()
    before = {n: v.clone() for n, v in model.state_dict().items()}
    trainer = Trainer(model, PARAMS, tmp_path, objective=MaskedObjective(model, PARAMS))
    pictures = [np.random.default_rng(0).integers(0, 255, (80, 90, 3), dtype=np.uint8)]
    running = trainer.run(pictures)  # type: ignore[arg-type]
    next(running)
    running.close()
    changed = {n for n, v in model.state_dict().items() if not torch.equal(v, before[n])}
    assert changed and all(n.startswith("image_encoder.") for n in changed)


def test_a_hidden_share_that_cannot_be():
    with pytest.raises(TrainingError, match="masked"):
        MaskedObjective(MicroSam(SMALL), PARAMS, masked=1.0)


def test_a_run_starts_from_the_exported_encoder(tmp_path: Path, monkeypatch, capsys):
    monkeypatch.setattr(command_pretrain, "new_model", lambda *_, **__: MicroSam(SMALL))
    monkeypatch.setattr(torch, "set_num_threads", lambda _: None)
    run, file = tmp_path / "run", tmp_path / "encoder.safetensors"
    settings = ["--steps=1", "--workers=0", "--crops=32x1x1", "--log-every=1", "--device=cpu"]
    Image.fromarray(np.arange(4096, dtype=np.uint8).reshape(64, 64)).save(tmp_path / "a.png")
    images = ["--images", str(tmp_path / "a.png"), "--synthetic-share=0"]
    command_pretrain.pretrain([str(run), *settings, *images], prog="pretrain")
    assert '"step": 1' in capsys.readouterr().out
    command_pretrain.pretrain([str(run), "--export", str(file)], prog="pretrain")
    torch.manual_seed(5)
    fresh = MicroSam(SMALL)
    missing = start_from(fresh, file)
    assert missing and all(not n.startswith("image_encoder.") for n in missing)
    torch.manual_seed(5)
    assert not torch.equal(
        fresh.image_encoder.upscale.weight, MicroSam(SMALL).image_encoder.upscale.weight
    )
    with pytest.raises(TrainingError, match="another network"):
        start_from(build_sam(SMALL_SAM), file)


def test_pictures_of_files_and_folders(tmp_path: Path):
    Image.fromarray(np.zeros((20, 30), np.uint8)).save(tmp_path / "a.png")
    np.save(tmp_path / "b.npy", np.random.default_rng(0).random((24, 40, 40)))
    (tmp_path / "notes.txt").write_text("no image")
    assert [p.shape for p in read_pictures([tmp_path / "a.png"])] == [(20, 30, 3)]
    assert [p.shape for p in read_pictures([tmp_path])] == [(20, 30, 3), *[(40, 40, 3)] * 8]
    (tmp_path / "bad.png").write_text("no image")
    with pytest.raises(TrainingError, match=r"bad\.png cannot be read"):
        read_pictures([tmp_path])
    with pytest.raises(TrainingError, match="neither"):
        read_pictures([tmp_path / "notes.txt"])
