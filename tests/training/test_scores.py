"""Fitting the head that predicts the IoU."""

from pathlib import Path

import numpy as np
import pytest
import torch

from napari_sam.core.modeling.micro import MicroSam
from napari_sam.core.modeling.micro_score_head import ScoreHead
from napari_sam.errors import ImageError
from napari_sam.evaluation.datasets import Sample
from napari_sam.progress import Progress
from napari_sam.training import commands as command
from napari_sam.training.checkpoint import load_checkpoint, save_checkpoint
from napari_sam.training.params import ScoreParams, TrainParams
from napari_sam.training.scores import Evidence, collect_evidence, fit_head, fit_scores
from tests.core.modeling.test_micro import SMALL


def test_the_head_learns_what_can_be_seen():
    torch.manual_seed(0)
    head = ScoreHead(8, 4, 2)
    seen = torch.randn(1500, 2, len(head.input_mean)) * 5 + 3
    truth = ((seen[..., 0] - 3) / 10 + 0.5).clamp(0, 1)
    fit_head(head, Evidence(seen, truth), ScoreParams())
    assert not head.training
    assert (head(seen) - truth).abs().mean() < 0.4 * truth.std()


def test_evidence_counts_every_round_of_every_object():
    labels = np.zeros((64, 80), np.int32)
    labels[8:30, 10:40], labels[40:60, 50:75] = 1, 2
    labels[0, :5] = 3  # too small to ask about
    picture = np.repeat((labels > 0)[..., None] * np.uint8(200), 3, 2)
    sample = Sample("drawn", "fluorescence", "drawn", picture, labels, {})
    model = MicroSam(SMALL).eval().requires_grad_(False)
    evidence = collect_evidence(model, sample, ScoreParams(rounds=2), seed=0)
    # Two objects: two rounds from the centre, one click anywhere, one box.
    assert evidence.iou.shape == (2 * (2 + 1 + 1), 4)
    assert evidence.seen.shape == (8, 4, len(model.mask_decoder.iou_head.input_mean))
    assert evidence.seen.isfinite().all()
    assert (evidence.iou >= 0).all() and (evidence.iou <= 1).all()


def test_an_image_without_objects_gives_no_evidence():
    picture, labels = np.zeros((32, 32, 3), np.uint8), np.zeros((32, 32), np.int32)
    sample = Sample("empty", "fluorescence", "drawn", picture, labels, {})
    model = MicroSam(SMALL).eval().requires_grad_(False)
    evidence = collect_evidence(model, sample, ScoreParams(), seed=0)
    assert evidence.iou.shape == (0, 4) and len(evidence.seen) == 0


def test_no_evidence_at_all_is_said():
    head = ScoreHead(8, 4, 2)
    before = {name: value.clone() for name, value in head.state_dict().items()}
    nothing = Evidence(torch.zeros(0, 2, len(head.input_mean)), torch.zeros(0, 2))
    with pytest.raises(ImageError, match="no object of at least 20 pixels"):
        fit_head(head, nothing, ScoreParams())
    assert all(torch.equal(before[name], value) for name, value in head.state_dict().items())


def test_no_image_at_all_is_said():
    with pytest.raises(ImageError, match="images is 0"):
        next(iter(fit_scores(MicroSam(SMALL), None, ScoreParams(images=0))))


def test_fitting_keeps_what_the_run_was_trained_with(tmp_path: Path, monkeypatch):
    model = MicroSam(SMALL)
    file = tmp_path / "checkpoint.pt"
    save_checkpoint(file, {"ema": model.state_dict(), "step": 3}, TrainParams(seed=7))

    def fit(*_):
        yield Progress(1, 1, "fitted")

    monkeypatch.setattr(command, "fit_scores", fit)
    command._fit_scores_of(tmp_path, MicroSam(SMALL), None, ScoreParams(epochs=5))
    kept = load_checkpoint(file)
    assert kept["params"]["seed"] == 7
    assert kept["score_params"]["epochs"] == 5
    assert kept["step"] == 3
