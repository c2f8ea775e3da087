"""The public predictor and generator beside the official classes, on a small seeded network.

Quick, so part of the default run wherever ``segment-anything`` is installed.
"""

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from napari_sam.core.automatic import segment_everything
from napari_sam.core.predictor import Predictor
from napari_sam.core.prompts import Prompts
from napari_sam.core.registry import get_spec
from napari_sam.core.runtime import choose_runtime
from tests.golden.cases import VIT
from tests.parity.compare import SEED, seeded_sam
from tests.parity.images import nuclei
from tests.parity.peers import OfficialPeer, available, build_peer
from tests.parity.shims import stand_ins

pytestmark = pytest.mark.skipif(
    not available("segment_anything"), reason="segment-anything is not installed"
)
SIZES = [(90, 130), (131, 77), (128, 128), (300, 180)]


@contextmanager
def spotlight(model: Any) -> Iterator[None]:
    """Make a seeded network answer with object-like masks: blobs around its prompt.

    Masks of random weights cover everything, so that all but one fall to NMS.
    """
    seen: list[torch.Tensor] = []

    def remember(_: Any, args: Any, kwargs: Any) -> None:
        points = kwargs["points"]
        seen[:] = [points[0] if isinstance(points, tuple) else points]

    def blobs(_: Any, args: Any, output: Any) -> Any:
        logits, scores = output
        centres = (torch.arange(logits.shape[-1]) + 0.5) * 4
        x, y = seen[0].float()[:, 0, :, None].unbind(1)
        distance = (centres - y)[:, :, None] ** 2 + (centres - x)[:, None, :] ** 2
        radii = torch.tensor([9.0, 15.0, 30.0])[:, None, None]
        return logits * 0.7 + 3 - 3 * distance[:, None] / radii**2, scores

    hooks = [
        model.prompt_encoder.register_forward_pre_hook(remember, with_kwargs=True),
        model.mask_decoder.register_forward_hook(blobs),
    ]
    yield
    for hook in hooks:
        hook.remove()


def official(name: str) -> Any:
    with stand_ins():
        return importlib.import_module(f"segment_anything.{name}")


@pytest.fixture(scope="module")
def peer() -> OfficialPeer:
    built = build_peer("segment_anything", VIT, seed=SEED)
    assert isinstance(built, OfficialPeer)
    return built


@pytest.fixture(scope="module")
def ours() -> Predictor:
    side = VIT.image_size
    spec = replace(get_spec("vit_b"), image_size=side, least_size=side, canvas_multiple=side)
    return Predictor(seeded_sam(VIT), spec, runtime=choose_runtime("cpu"))


def prompt_sets(height: int, width: int) -> dict[str, dict[str, Any]]:
    """Official arguments (x before y, float) by name."""
    points = np.array([[0.4 * width, 0.5 * height], [0.7 * width, 0.2 * height]])
    box = np.array([0.1 * width, 0.2 * height, 0.8 * width, 0.9 * height])
    mask = np.random.default_rng(0).standard_normal((1, 32, 32)).astype(np.float32) * 5
    one = {"point_coords": points[:1], "point_labels": np.array([1])}
    two = {"point_coords": points, "point_labels": np.array([1, 0])}
    return {
        "one point": one,
        "two points": two,
        "box": {"box": box},
        "box and points": two | {"box": box},
        "point and mask": one | {"mask_input": mask},
    }


def as_prompts(arguments: dict[str, Any]) -> Prompts:
    points, box = arguments.get("point_coords"), arguments.get("box")
    return Prompts(
        points=None if points is None else points[None, :, ::-1],
        point_labels=None if points is None else arguments["point_labels"][None],
        boxes=None if box is None else box[None, [1, 0, 3, 2]],
        mask_logits=arguments.get("mask_input"),
    )


@pytest.mark.parametrize("multimask", [True, False])
@pytest.mark.parametrize("size", SIZES)
def test_same_masks_as_the_official_predictor(
    peer: OfficialPeer, ours: Predictor, size: tuple[int, int], multimask: bool
):
    image = nuclei(*size, seed=3)
    theirs = official("predictor").SamPredictor(peer.module)
    theirs.set_image(image)
    embedding = ours.encode(image, intensity="as_is")
    expected = theirs.get_image_embedding()
    torch.testing.assert_close(embedding.features, expected, rtol=0, atol=1e-4 * expected.std())
    for name, arguments in prompt_sets(*size).items():
        masks, scores, low_res = theirs.predict(**arguments, multimask_output=multimask)
        prediction = ours.decode(embedding, as_prompts(arguments), multimask=multimask)
        limit = 1e-4 * low_res.std()
        np.testing.assert_allclose(prediction.low_res_logits[0], low_res, rtol=0, atol=limit)
        np.testing.assert_allclose(prediction.scores[0], scores, rtol=1e-4, atol=1e-5)
        assert (prediction.masks()[0] == masks).mean() >= 0.9999, name


@pytest.mark.parametrize(
    "settings",
    [
        {"points_per_side": 6},
        {"points_per_side": 5, "crop_n_layers": 1, "crop_n_points_downscale_factor": 2},
        {"points_per_side": 6, "min_mask_region_area": 30},
    ],
    ids=["grid", "crops", "small regions"],
)
@pytest.mark.parametrize("size", [(120, 160), (150, 100)])
def test_same_automatic_masks_in_the_same_order(
    peer: OfficialPeer, ours: Predictor, size: tuple[int, int], settings: dict[str, int]
):
    if "min_mask_region_area" in settings:
        pytest.importorskip("cv2", reason="the official code needs OpenCV for small regions")
    image = nuclei(*size, seed=4)
    # Thresholds at which about half of the masks stay.
    loose = {
        "pred_iou_thresh": 0.05,
        "stability_score_thresh": 0.6,
        "stability_score_offset": 0.5,
        "box_nms_thresh": 0.8,
    }
    module = official("automatic_mask_generator")
    with spotlight(peer.module), spotlight(ours._model):
        generator = module.SamAutomaticMaskGenerator(peer.module, **loose, **settings)
        expected = generator.generate(image)
        got = segment_everything(image, ours, intensity="as_is", **loose, **settings)
    assert len(expected) > 3
    assert len(got) == len(expected)
    for record, official_record in zip(got, expected, strict=True):
        assert (record.mask() == official_record["segmentation"]).mean() >= 0.9999
        assert record.score == pytest.approx(official_record["predicted_iou"], abs=1e-4)
        assert record.stability == pytest.approx(official_record["stability_score"], abs=1e-3)
        assert record.point[::-1] == pytest.approx(official_record["point_coords"][0], abs=1e-3)
        x, y, width, height = official_record["crop_box"]
        assert record.crop == (y, x, y + height, x + width)
        assert record.area == pytest.approx(official_record["area"], abs=5)
