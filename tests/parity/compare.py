"""Runs a published size of our network beside an official one and measures the differences.

The two are never in memory together: the official network answers everything, is dropped, and then
ours does. Knows the registry's sizes; weights are seeded, nothing is downloaded.
"""

import gc
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from napari_sam.core.architecture import SamConfig
from napari_sam.core.modeling.common import EncodedImage
from napari_sam.core.modeling.sam import Sam, build_sam
from napari_sam.core.registry import get_spec
from tests.golden.cases import PromptCase, prompt_cases
from tests.golden.seeded import seeded_tensor
from tests.parity.images import Picture, TestImage
from tests.parity.peers import Peer, build_peer

MAX_ERROR = 1e-4  # of the official array's standard deviation
MIN_EQUAL_PIXELS = 0.9999
SEED = 7


@dataclass(frozen=True)
class Pair:
    """A model of the registry and the package to compare it with.

    ``counts`` is False where the package itself is known to differ from the official one.
    """

    model: str
    package: str
    counts: bool = True


PAIRS = {
    "vit_b": Pair("vit_b", "segment_anything"),
    "vit_l": Pair("vit_l", "segment_anything"),
    "vit_h": Pair("vit_h", "segment_anything"),
    "mobile_sam": Pair("mobile_sam", "mobile_sam"),
    "transformers": Pair("vit_b", "transformers"),
    "transformers-as-shipped": Pair("vit_b", "transformers as shipped", counts=False),
}


@dataclass(frozen=True)
class Difference:
    """One answer of both networks.

    Attributes
    ----------
    image, prompt
        Which image; which prompt case, "" for the image embedding.
    multimask
        Several candidates or one.
    max_error
        Largest absolute difference of the embedding or of the low-res logits, over the official
        array's standard deviation.
    score_error
        Largest absolute difference of the scores.
    equal_pixels
        Share of equal mask pixels at the image's size, of the worst mask.
    """

    image: str
    prompt: str
    multimask: bool
    max_error: float
    score_error: float = 0.0
    equal_pixels: float = 1.0

    @property
    def passed(self) -> bool:
        """Whether both limits are kept."""
        return self.max_error <= MAX_ERROR and self.equal_pixels >= MIN_EQUAL_PIXELS


@dataclass(frozen=True)
class _Input:
    """One image at the model's scale, with its prompts."""

    image: TestImage
    picture: Tensor
    cases: tuple[PromptCase, ...]


@dataclass(frozen=True)
class _Answer:
    features: Tensor
    decoded: tuple[tuple[Tensor, Tensor], ...]


@torch.no_grad()
def compare(pair: Pair, images: Sequence[TestImage]) -> list[Difference]:
    """Run one pair on some images with every kind of prompt."""
    config = get_spec(pair.model).architecture
    if not isinstance(config, SamConfig):
        raise TypeError(f"{pair.model} is no SAM")
    inputs = [_prepare(image, config, pair) for image in images]
    theirs = _run_official(pair, config, inputs)
    ours = _run_ours(pair, config, inputs)
    return [
        difference
        for given, a, b in zip(inputs, theirs, ours, strict=True)
        for difference in _differences(given, a, b, config)
    ]


def _prepare(image: TestImage, config: SamConfig, pair: Pair) -> _Input:
    picture = scale_longest_side(image.picture, config.image_size)
    tensor = torch.from_numpy(picture).permute(2, 0, 1)[None].float()
    mask_side = 4 * config.image_size // config.stride
    valid = (picture.shape[0], picture.shape[1])
    cases = prompt_cases(config.image_size, mask_side, valid=valid)
    if pair.package.startswith("transformers"):  # it cannot be called without points or boxes
        cases = [case for case in cases if case.points is not None or case.boxes is not None]
    return _Input(image, tensor, tuple(cases))


def scale_longest_side(picture: Picture, side: int) -> Picture:
    """Scale as the official ``ResizeLongestSide`` does: Pillow, bilinear, sizes rounded half up."""
    height, width = picture.shape[:2]
    scale = side / max(height, width)
    size = (int(width * scale + 0.5), int(height * scale + 0.5))
    return np.array(Image.fromarray(picture).resize(size, Image.Resampling.BILINEAR))


def _run_official(pair: Pair, config: SamConfig, inputs: Sequence[_Input]) -> list[_Answer]:
    peer: Peer = build_peer(pair.package, config, seed=SEED)
    answers = []
    for given in inputs:
        features = peer.encode(given.picture)
        decoded = tuple(
            peer.decode(features, case, multimask=multimask) for case, multimask in _asked(given)
        )
        answers.append(_Answer(features, decoded))
    del peer
    gc.collect()
    return answers


def _run_ours(pair: Pair, config: SamConfig, inputs: Sequence[_Input]) -> list[_Answer]:
    sam = seeded_sam(config)
    canvas = (config.image_size, config.image_size)
    answers = []
    for given in inputs:
        encoded = sam.encode_image(given.picture, canvas=canvas)
        decoded = tuple(_decode(sam, encoded, *asked) for asked in _asked(given))
        answers.append(_Answer(encoded.features, decoded))
    return answers


def seeded_sam(config: SamConfig) -> Sam:
    """Build our network with the weights that the official one gets for the same keys."""
    sam = build_sam(config, init_weights=False).eval().requires_grad_(False)
    for key, tensor in sam.state_dict().items():
        tensor.copy_(seeded_tensor(key, tuple(tensor.shape), SEED))
    return sam


def _decode(
    sam: Sam, encoded: EncodedImage, case: PromptCase, multimask: bool
) -> tuple[Tensor, Tensor]:
    answer: tuple[Tensor, Tensor] = sam.decode(
        encoded,
        points=case.points,
        labels=case.labels,
        boxes=case.boxes,
        mask=case.mask,
        multimask=multimask,
    )
    return answer


def _asked(given: _Input) -> Iterator[tuple[PromptCase, bool]]:
    for case in given.cases:
        yield case, True
        yield case, False


def _differences(
    given: _Input, theirs: _Answer, ours: _Answer, config: SamConfig
) -> Iterator[Difference]:
    name = given.image.name
    yield Difference(name, "", False, _max_error(theirs.features, ours.features))
    for (case, multimask), (logits, scores), (our_logits, our_scores) in zip(
        _asked(given), theirs.decoded, ours.decoded, strict=True
    ):
        yield Difference(
            name,
            case.name,
            multimask,
            _max_error(logits, our_logits),
            (scores - our_scores).abs().max().item(),
            _equal_pixels(
                _official_masks(logits, given, config), _official_masks(our_logits, given, config)
            ),
        )


def _max_error(theirs: Tensor, ours: Tensor) -> float:
    return ((theirs - ours).abs().max() / theirs.std()).item()


def _official_masks(logits: Tensor, given: _Input, config: SamConfig) -> Tensor:
    """Masks at the image's size by the official formula: to the canvas, crop, to the image."""
    height, width = given.picture.shape[-2:]
    canvas = (config.image_size, config.image_size)
    fine = F.interpolate(logits, canvas, mode="bilinear", align_corners=False)
    fine = fine[..., :height, :width]
    size = given.image.picture.shape[:2]
    return F.interpolate(fine, size, mode="bilinear", align_corners=False) > 0


def _equal_pixels(theirs: Tensor, ours: Tensor) -> float:
    return (theirs == ours).float().mean(dim=(-2, -1)).min().item()
