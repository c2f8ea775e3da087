"""Our networks give the official packages' numbers: small sizes, no peer needed.

The full sizes are in ``tests/parity``. Makers of the files: ``tests/golden/make_golden.py``.
"""

import json
from functools import cache

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from napari_sam.core.hf_keys import to_official
from napari_sam.core.modeling.common import EncodedImage
from napari_sam.core.modeling.image_encoder import relative_table
from napari_sam.core.modeling.sam import Sam, build_sam
from napari_sam.core.registry import get_spec
from tests.golden.cases import FOLDER, PICTURE_SIZE, SEED, TINY_VIT, VIT, PromptCase, prompt_cases
from tests.golden.seeded import seeded_picture, seeded_state, seeded_tensor

CONFIGS = {"sam_vit": VIT, "sam_tiny_vit": TINY_VIT, "transformers_sam": VIT}
UNUSED_HEAD_KEYS = get_spec("mobile_sam").ignored_keys
TOLERANCE = 1e-4  # of the golden array's standard deviation

pytestmark = pytest.mark.parametrize("name", CONFIGS)


@cache
def golden(name: str) -> dict[str, Tensor]:
    return load_file(FOLDER / f"{name}.safetensors")


@cache
def golden_keys(name: str) -> dict[str, list[int]]:
    with safe_open(FOLDER / f"{name}.safetensors", framework="pt") as file:
        keys: dict[str, list[int]] = json.loads(file.metadata()["keys"])
    official: dict[str, list[int]] = to_official(keys)
    return official


@cache
def model(name: str) -> Sam:
    shapes = {k: v for k, v in golden_keys(name).items() if k not in UNUSED_HEAD_KEYS}
    sam = build_sam(CONFIGS[name], init_weights=False).eval()
    sam.load_state_dict(seeded_state(shapes, SEED), strict=True, assign=True)
    return sam.requires_grad_(False)


def cases(name: str) -> list[PromptCase]:
    config = CONFIGS[name]
    every = prompt_cases(
        config.image_size, 4 * config.image_size // config.stride, valid=PICTURE_SIZE
    )
    return [case for case in every if f"{case.name}/True/logits" in golden(name)]


def assert_close(ours: Tensor, theirs: Tensor, what: str) -> None:
    assert ours.shape == theirs.shape, what
    assert ours.dtype == torch.float32, what
    error = ((ours - theirs).abs().max() / theirs.std()).item()
    assert error <= TOLERANCE, f"{what}: {error:.1e} of the standard deviation"


def test_keys_and_shapes_are_the_official_ones(name: str) -> None:
    ours = {key: list(value.shape) for key, value in model(name).state_dict().items()}
    theirs = golden_keys(name)
    dropped = UNUSED_HEAD_KEYS if name == "sam_tiny_vit" else frozenset()
    assert {key: shape for key, shape in theirs.items() if key not in dropped} == ours
    assert dropped <= set(theirs)


def test_image_embedding(name: str) -> None:
    side = CONFIGS[name].image_size
    picture = seeded_picture("golden", *PICTURE_SIZE)
    encoded = model(name).encode_image(picture, canvas=(side, side))
    assert_close(encoded.features, golden(name)["features"], "features")


@pytest.mark.parametrize("multimask", [True, False])
def test_low_res_logits_and_scores(name: str, multimask: bool) -> None:
    encoded = EncodedImage(golden(name)["features"])
    assert len(cases(name)) >= 6
    for case in cases(name):
        logits, scores = model(name).decode(
            encoded,
            points=case.points,
            labels=case.labels,
            boxes=case.boxes,
            mask=case.mask,
            multimask=multimask,
        )
        key = f"{case.name}/{multimask}"
        assert_close(logits, golden(name)[f"{key}/logits"], f"{key} logits")
        theirs = golden(name)[f"{key}/scores"]
        torch.testing.assert_close(scores, theirs, rtol=1e-4, atol=1e-5)


def test_relative_tables_of_other_sizes(name: str) -> None:
    table = seeded_tensor("golden.rel_pos_h", (9, 6), SEED)
    for key, theirs in golden(name).items():
        if key.startswith("relative/"):
            ours = relative_table(table, int(key.removeprefix("relative/")))
            torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-6)
