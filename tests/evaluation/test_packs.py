"""On the real development pack, where it lies beside the repository."""

from pathlib import Path

import numpy as np
import pytest

from napari_sam.evaluation.baselines import ClassicalImage, ellipse_in_box
from napari_sam.evaluation.clicks import tight_box
from napari_sam.evaluation.datasets import PLANES, read_item, select_items
from napari_sam.evaluation.groups import group_of
from napari_sam.evaluation.interactive import choose_objects
from napari_sam.evaluation.metrics import iou
from napari_sam.evaluation.params import EvaluationParams
from napari_sam.evaluation.sources import open_images

PACK = Path(__file__).resolve().parents[3] / "shared" / "packs" / "dev"

EXPECTED = {"fluorescence": 42, "H&E": 8, "StarDist 2D": 1, "phase contrast": 2, "axon SEM": 1}

pytestmark = [
    pytest.mark.packs,
    pytest.mark.skipif(not PACK.exists(), reason="the packs are not beside the repository"),
]


def test_every_item_is_read():
    source = open_images(PACK)
    assert len(source.items) > 120
    for item in source.items:
        for sample in source.planes(item, 1):
            assert sample.picture.shape == (*sample.labels.shape, 3)
            assert sample.labels.max() > 0


def test_the_groups_with_bars_are_there():
    items = select_items(PACK, axes=PLANES)
    counts = {name: [group_of(item) for item in items].count(name) for name in EXPECTED}
    assert counts == EXPECTED


def test_the_ellipse_in_the_box_scores_as_published():
    # 0.822 in the first experiments on a similar split: the protocol is the same one.
    params = EvaluationParams(objects_per_image=5)
    found = []
    for item in select_items(PACK, datasets=("dsb2018",), axes=PLANES):
        if group_of(item) == "fluorescence":
            for sample in read_item(PACK, item):
                image = ClassicalImage(sample.picture)
                for label in choose_objects(sample.labels, sample.name, params):
                    truth = sample.labels == label
                    found.append(iou(ellipse_in_box(image, tight_box(truth)), truth))
    assert np.mean(found) == pytest.approx(0.82, abs=0.02)
