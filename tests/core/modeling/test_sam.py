"""The whole SAM: official keys at the published sizes, shapes, padding, objects apart."""

import json

import pytest
import torch
from torch import Tensor

from napari_sam.core.architecture import SamConfig
from napari_sam.core.modeling.common import EncodedImage, uninitialised
from napari_sam.core.modeling.sam import Sam, build_sam
from napari_sam.core.registry import get_spec
from napari_sam.errors import ImageError
from tests.golden.cases import FOLDER, TINY_VIT, VIT, keys_digest, prompt_cases
from tests.golden.seeded import seeded_picture, seeded_state

CANVAS = (128, 128)
both = pytest.mark.parametrize("config", [VIT, TINY_VIT], ids=["vit", "tiny_vit"])


def make_sam(config: SamConfig) -> Sam:
    sam = build_sam(config, init_weights=False).eval().requires_grad_(False)
    shapes = {key: value.shape for key, value in sam.state_dict().items()}
    sam.load_state_dict(seeded_state(shapes, 5), assign=True)
    return sam


def click(sam: Sam, encoded: EncodedImage, xy: Tensor, *, multimask: bool = True) -> Tensor:
    labels = torch.ones(xy.shape[:2], dtype=torch.long)
    logits: Tensor
    logits, scores = sam.decode(
        encoded, points=xy, labels=labels, boxes=None, mask=None, multimask=multimask
    )
    assert scores.shape == logits.shape[:2]
    return logits


@pytest.mark.parametrize("name", ["vit_b", "vit_l", "vit_h", "mobile_sam"])
def test_keys_and_shapes_at_the_published_sizes(name: str) -> None:
    """Frozen from the official packages: a changed name would refuse every published file."""
    config = get_spec(name).architecture
    assert isinstance(config, SamConfig)
    golden = json.loads((FOLDER / "official_keys.json").read_text())
    assert keys_digest(build_sam(config, init_weights=False).state_dict()) == golden[name]


@both
@pytest.mark.parametrize("multimask", [True, False])
def test_shapes(config: SamConfig, multimask: bool) -> None:
    sam = make_sam(config)
    encoded = sam.encode_image(seeded_picture("shapes", 100, 128), canvas=CANVAS)
    assert encoded.features.shape == (1, config.out_chans, 8, 8)
    assert encoded.skip is None
    for case in prompt_cases(128, 32, valid=(100, 128)):
        logits, scores = sam.decode(
            encoded,
            points=case.points,
            labels=case.labels,
            boxes=case.boxes,
            mask=case.mask,
            multimask=multimask,
        )
        given = [part for part in (case.points, case.boxes, case.mask) if part is not None]
        n_objects = given[0].shape[0] if given else 1
        n_masks = 3 if multimask else 1
        assert logits.shape == (n_objects, n_masks, 32, 32), case.name
        assert scores.shape == (n_objects, n_masks), case.name
        assert logits.dtype == scores.dtype == encoded.features.dtype == torch.float32


@both
def test_objects_do_not_mix(config: SamConfig) -> None:
    sam = make_sam(config)
    encoded = sam.encode_image(seeded_picture("apart", 128, 128), canvas=CANVAS)
    xy = torch.tensor([[[10.0, 20.0]], [[90.0, 40.0]], [[64.0, 100.0]]])
    together = click(sam, encoded, xy)
    alone = torch.cat([click(sam, encoded, one[None]) for one in xy])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(click(sam, encoded, xy[[2, 0, 1]]), together[[2, 0, 1]])


@both
def test_a_smaller_canvas_has_smaller_answers(config: SamConfig) -> None:
    sam = make_sam(config)
    encoded = sam.encode_image(seeded_picture("canvas", 60, 90), canvas=(64, 96))
    assert encoded.features.shape[-2:] == (4, 6)
    logits = click(sam, encoded, torch.tensor([[[20.0, 30.0]]]), multimask=False)
    assert logits.shape == (1, 1, 16, 24)
    assert logits.isfinite().all()


def test_the_margin_is_the_mean_colour() -> None:
    """Padding comes after normalising, so a picture of the mean colour fills the canvas."""
    sam = make_sam(VIT)
    mean = torch.tensor(VIT.pixel_mean).view(1, 3, 1, 1)
    small = sam.encode_image(mean.expand(1, 3, 40, 50), canvas=CANVAS)
    full = sam.encode_image(mean.expand(1, 3, *CANVAS), canvas=CANVAS)
    torch.testing.assert_close(small.features, full.features)


@pytest.mark.parametrize("canvas", [(128, 112), (90, 128), (130, 130)])
def test_a_canvas_that_does_not_fit_is_refused(canvas: tuple[int, int]) -> None:
    with pytest.raises(ImageError, match=f"{canvas[0]} x {canvas[1]}"):
        make_sam(VIT).encode_image(torch.zeros(1, 3, 100, 120), canvas=canvas)


def test_normalisation_is_not_in_the_state_dict_and_survives_loading() -> None:
    sam = make_sam(VIT)
    assert not [key for key in sam.state_dict() if key.startswith("pixel")]
    torch.testing.assert_close(sam.pixel_mean.flatten(), torch.tensor(VIT.pixel_mean))


def test_nothing_is_float64() -> None:
    """MPS has no float64."""
    kinds = {
        tensor.dtype for tensor in [*make_sam(TINY_VIT).buffers(), *make_sam(VIT).parameters()]
    }
    assert kinds == {torch.float32, torch.int64}


def test_initialisation_is_skipped_inside_only() -> None:
    torch.manual_seed(0)
    expected = torch.nn.Linear(3, 3).weight
    torch.manual_seed(0)
    with uninitialised():
        torch.nn.Linear(3, 3)  # draws no random number
    assert torch.equal(torch.nn.Linear(3, 3).weight, expected)


def test_a_fresh_network_can_be_trained() -> None:
    sam = build_sam(VIT)
    encoded = sam.encode_image(seeded_picture("train", 128, 128), canvas=CANVAS)
    logits = click(sam, encoded, torch.tensor([[[10.0, 20.0]]]))
    torch.autograd.backward(logits.square().sum())
    assert sam.get_parameter("image_encoder.patch_embed.proj.weight").grad is not None
