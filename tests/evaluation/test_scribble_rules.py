"""The command that measures scribbles, on a drawn pack and with a fake model."""

import json

import numpy as np
import pytest
from PIL import Image

from napari_sam.errors import ImageError
from napari_sam.evaluation import scribble_rules
from napari_sam.testing import FakePredictor


@pytest.fixture
def pack(tmp_path):
    y, x = np.indices((64, 64))
    truth = (y - 30) ** 2 + (x - 30) ** 2 <= 64
    Image.fromarray(truth.astype(np.uint8) * 200).save(tmp_path / "a.png")
    Image.fromarray(truth.astype(np.uint8)).save(tmp_path / "a_label.png")
    positive = np.zeros((3, 64, 64), bool)
    positive[:2, 30, 28:33] = True  # the third person has drawn nothing
    negative = np.zeros((3, 64, 64), bool)
    negative[0, 30, 55] = True
    np.savez(tmp_path / "a.npz", positive=positive, negative=negative)
    item = {
        "id": "a",
        "image": "a.png",
        "label": "a_label.png",
        "scribbles": "a.npz",
        "modality": "drawn",
        "dataset": "drawn",
        "axes": "YX",
        "label_kind": "binary",
    }
    (tmp_path / "manifest.json").write_text(json.dumps({"items": [item]}))
    return tmp_path


def test_every_rule_is_asked_for_every_person(pack, monkeypatch, capsys):
    monkeypatch.setattr(scribble_rules, "load_predictor", lambda name: FakePredictor(radius=8))
    scribble_rules.main([str(pack)])
    lines = capsys.readouterr().out.splitlines()
    rows = {line.split("|")[1].strip(): line.split("|")[2:5] for line in lines[2:]}
    assert rows["one click in the middle, best of three"][0].strip() == "1.000"
    assert {values[2].strip() for values in rows.values()} == {"2"}
    assert f"**{scribble_rules.RULE}**" in rows
    assert 0 < float(rows["the positive scribble itself"][0]) < 0.1


def test_a_pack_without_scribbles_says_so(tmp_path):
    (tmp_path / "manifest.json").write_text("[]")
    with pytest.raises(ImageError, match="no image with scribbles"):
        next(scribble_rules.read_scribbles(tmp_path))
