"""Pictures to work on, and object-like answers for the automatic generator.

Random weights answer a point grid with masks that cover everything; all but one fall to the box NMS
and the generator has nothing to do after its decoder. The :class:`Oracle` adds objects to the
logits of a network, after its decoder has done all of its work. Both sides get the same objects.
The time that it takes is no part of the measurement.
"""

import dataclasses
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

import napari_sam
from benchmarks.contenders import Picture
from benchmarks.timing import Stopwatch
from tests.parity.images import nuclei

OBJECTS_PER_SIDE = 10
CANDIDATE_SIZES = (0.4, 0.65, 1.0)  # sub-part, part, whole: radius over that of the object
NOISE = 0.5  # how much of the network's own logits stays
_AT_ONCE = 4  # prompts whose logits stay in cache


def picture(size: tuple[int, int]) -> Picture:
    """Draw nuclei on an (H, W, 3) uint8 picture, the same each time."""
    return nuclei(*size, seed=5)


class Oracle:
    """A hundred discs on the canvas; a point answers with the disc that is nearest to it.

    Discs have centres and radii in shares of the canvas, and edges of different steepness, so that
    some fall to the stability filter.
    """

    def __init__(self) -> None:
        random = np.random.RandomState(11)
        n = OBJECTS_PER_SIDE**2
        marks = (np.arange(OBJECTS_PER_SIDE) + 0.5) / OBJECTS_PER_SIDE
        lattice = np.stack(np.meshgrid(marks, marks), -1).reshape(-1, 2)
        centres = lattice + random.uniform(-0.3, 0.3, (n, 2)) / OBJECTS_PER_SIDE
        self._centres = torch.from_numpy(centres).float()
        self._radii = torch.from_numpy(random.uniform(0.03, 0.06, n)).float()
        self._steepness = torch.from_numpy(random.uniform(30, 150, n)).float()

    def draw(self, logits_BMhw: Tensor, points_xy: Tensor) -> Tensor:
        """Logits of discs for points (B, 2) in shares of the canvas, with the network's noise."""
        side = logits_BMhw.shape[-1]
        marks = (torch.arange(side) + 0.5) / side
        chosen = torch.cdist(points_xy.float(), self._centres).argmin(1)
        sizes = torch.tensor(CANDIDATE_SIZES)
        drawn = torch.empty_like(logits_BMhw)
        for start in range(0, len(chosen), _AT_ONCE):
            part = chosen[start : start + _AT_ONCE]
            dx2, dy2 = ((marks - self._centres[part][:, i : i + 1]) ** 2 for i in (0, 1))
            radii2 = (self._radii[part, None] * sizes)[..., None, None] ** 2
            inside = 1 - (dy2[:, None, :, None] + dx2[:, None, None, :]) / radii2
            noise = NOISE * logits_BMhw[start : start + _AT_ONCE].clamp(-4, 4)
            drawn[start : start + _AT_ONCE] = (
                noise + self._steepness[part, None, None, None] * inside
            )
        return drawn


class OurOracle:
    """A predictor of ours whose embeddings are kept and whose masks are those of the oracle.

    Stands between ``segment_everything`` and the predictor; knows the public ``encode`` and
    ``decode`` only. Everything else is the predictor's own.
    """

    def __init__(self, predictor: napari_sam.Predictor, watch: Stopwatch) -> None:
        self._predictor, self._watch = predictor, watch
        self._oracle = Oracle()
        self._embeddings: dict[tuple[int, ...], napari_sam.ImageEmbedding] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._predictor, name)

    def encode(self, image: ArrayLike, **settings: Any) -> napari_sam.ImageEmbedding:
        """Embed once; no part of the measured time."""
        with self._watch.pause():
            array = np.ascontiguousarray(image)
            key = _key(array)
            if key not in self._embeddings:
                self._embeddings[key] = self._predictor.encode(array, **settings)
            return self._embeddings[key]

    def decode(
        self, embedding: napari_sam.ImageEmbedding, prompts: napari_sam.Prompts, **settings: Any
    ) -> napari_sam.MaskPrediction:
        """Decode, and draw the oracle's objects over the logits."""
        prediction = self._predictor.decode(embedding, prompts, **settings)
        with self._watch.pause():
            assert prompts.points is not None
            points = embedding.frame.points_to_model(prompts.points[:, 0])
            canvas = np.array(embedding.frame.canvas[::-1], np.float32)
            drawn = self._oracle.draw(
                torch.from_numpy(np.array(prediction.low_res_logits)),
                torch.from_numpy(points / canvas),
            )
            return dataclasses.replace(prediction, low_res_logits=drawn.numpy())


@contextmanager
def official_oracle(module: Any, watch: Stopwatch) -> Iterator[None]:
    """The same for the network of an official package, by hooks."""
    oracle = Oracle()
    seen: list[Tensor] = []
    side = module.prompt_encoder.input_image_size[0]

    def remember(_: Any, args: Any, kwargs: Any) -> None:
        seen[:] = [kwargs["points"][0][:, 0] / side]

    def draw(_: Any, args: Any, output: Any) -> Any:
        with watch.pause():
            return oracle.draw(output[0], seen[0]), output[1]

    hooks = [
        module.prompt_encoder.register_forward_pre_hook(remember, with_kwargs=True),
        module.mask_decoder.register_forward_hook(draw),
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


class KeptImages:
    """``SamPredictor.set_image`` that encodes each picture once; no part of the measured time."""

    def __init__(self, predictor: Any, watch: Stopwatch) -> None:
        self._encoder, self._watch = predictor, watch
        self._states: dict[tuple[int, ...], dict[str, Any]] = {}

    def serve(self, predictor: Any) -> None:
        """Let another ``SamPredictor`` of the same network take its embeddings from here."""

        def set_image(image: Picture, image_format: str = "RGB") -> None:
            with self._watch.pause():
                vars(predictor).update(self._state(np.ascontiguousarray(image)))

        predictor.set_image = set_image

    def _state(self, image: Picture) -> dict[str, Any]:
        key = _key(image)
        if key not in self._states:
            self._encoder.set_image(image)
            self._states[key] = dict(vars(self._encoder))
        return self._states[key]


def _key(array: NDArray[Any]) -> tuple[int, ...]:
    return (*array.shape, zlib.crc32(array.tobytes()))
