"""Predictor: image -> ImageEmbedding, prompts -> MaskPrediction. Functions of values, no memory.

The same predictor may be used from several threads and for several images at once: nothing here
remembers "the current image". Knows one image; volumes and tiles are above it.
"""

from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from napari_sam.core.closer_look import LOOKS_KEPT, MOST_PIXELS, Look, closer_look, prompts_in
from napari_sam.core.detail import Detail
from napari_sam.core.engines import Backend, best_engine, check_choice
from napari_sam.core.engines.fit import fit_model, is_compiled
from napari_sam.core.fragments import drop_fragments
from napari_sam.core.frame import Frame, picture_to_tensor
from napari_sam.core.intensity import Intensity, to_picture
from napari_sam.core.modeling.common import EncodedImage
from napari_sam.core.network import load_model
from napari_sam.core.prediction import ImageEmbedding, MaskPrediction
from napari_sam.core.prompts import Prompts
from napari_sam.core.registry import DEFAULT_MODEL, ModelSpec, get_spec
from napari_sam.core.runtime import (
    Precision,
    Runtime,
    choose_runtime,
    memory_errors,
    runs_on_cpu,
)
from napari_sam.errors import PromptError

__all__ = [
    "ImageEmbedding",
    "MaskPrediction",
    "Predictor",
    "PromptableModel",
    "check_inside",
    "load_predictor",
]


class PromptableModel(Protocol):
    """What the predictor needs of a network; ``Sam`` and ``MicroSam`` have it."""

    def encode_image(self, picture_13HW: Tensor, *, canvas: tuple[int, int]) -> EncodedImage:
        """Encode a picture (1, 3, H, W), 0 to 255, on a canvas."""
        ...

    def decode(
        self,
        encoded: EncodedImage,
        *,
        points: Tensor | None,
        labels: Tensor | None,
        boxes: Tensor | None,
        mask: Tensor | None,
        multimask: bool,
        least_score: float | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Low-res logits (B, M, h, w) and scores (B, M) of B prompts in canvas x, y.

        Candidates whose score is not above ``least_score`` have ``EMPTY_LOGIT`` everywhere.
        """
        ...


class Predictor:
    """A model ready to encode images and decode prompts; safe to share between threads.

    Parameters
    ----------
    model
        The network, in eval mode.
    spec
        Its registry entry: sizes and name.
    runtime
        Device and precision.
    """

    def __init__(self, model: PromptableModel, spec: ModelSpec, *, runtime: Runtime) -> None:
        self._model = model
        self.spec = spec
        self.runtime = runtime

    @memory_errors()
    def encode(
        self,
        image: ArrayLike,
        *,
        intensity: Intensity = "percentile",
        channels: tuple[int, ...] | None = None,
    ) -> ImageEmbedding:
        """Compute the embedding of an image, once for all its prompts.

        Parameters
        ----------
        image
            (H, W) or (H, W, C), any real dtype and size.
        intensity, channels
            What the model sees: see :func:`~napari_sam.core.intensity.to_picture`.

        Raises
        ------
        ImageError
            The image cannot be taken.
        OutOfMemoryError
            The device has too little memory.
        """
        picture = to_picture(image, intensity=intensity, channels=channels)
        embedding = self._embed(picture, self.frame((picture.shape[0], picture.shape[1])))
        return self.with_picture(embedding, picture)

    def with_picture(self, embedding: ImageEmbedding, picture: NDArray[np.uint8]) -> ImageEmbedding:
        """An embedding with what it was made of, if this model looks closer at small objects.

        Parameters
        ----------
        embedding
            Of this model, such as one that was kept on disk.
        picture
            (H, W, 3) uint8, as the model saw it.
        """
        pixels = picture.shape[0] * picture.shape[1]
        if not self.spec.looks_closer or pixels > MOST_PIXELS:
            return embedding
        return replace(embedding, picture=picture)

    def _embed(self, picture: NDArray[np.uint8], frame: Frame) -> ImageEmbedding:
        tensor = picture_to_tensor(frame.resize(picture), self.runtime.device)
        with self.runtime.active(alone=True):
            features, skip = self._model.encode_image(tensor, canvas=frame.canvas)
        finer = None if skip is None else skip.float()
        return ImageEmbedding(features.float(), finer, frame, self.spec.name)

    @memory_errors()
    def decode(
        self,
        embedding: ImageEmbedding,
        prompts: Prompts,
        *,
        multimask: bool = True,
        least_score: float | None = None,
    ) -> MaskPrediction:
        """Masks for all objects of the prompts.

        Parameters
        ----------
        embedding
            From :meth:`encode` of this model.
        prompts
            B objects in pixels of the original image.
        multimask
            Three candidates an object (good for a single click), or one.
        least_score
            Spare the work for candidates whose score is not above it: their logits are -32
            everywhere, an empty mask. Scores and all other candidates are as without it. No
            object gets a closer look then: this is for grids of points.

        Raises
        ------
        PromptError
            A point or box lies wholly outside the image, a mask has the wrong size, or the
            embedding is another model's.
        OutOfMemoryError
            The device has too little memory.
        """
        if embedding.model_name != self.spec.name:
            raise PromptError(
                f"the embedding was made by model {embedding.model_name!r}, this is"
                f" {self.spec.name!r}: encode the image again."
            )
        frame = embedding.frame
        check_inside(prompts, frame.original)
        prediction = self._answer(embedding, prompts, multimask, least_score)
        if embedding.picture is None or least_score is not None:
            return prediction
        return self._look_closer(embedding, prompts, prediction, multimask)

    def _look_closer(
        self,
        embedding: ImageEmbedding,
        prompts: Prompts,
        whole: MaskPrediction,
        multimask: bool,
    ) -> MaskPrediction:
        """Ask again about small objects, each in a crop; the answer that expects more stays."""
        logits, scores, details = whole.low_res_logits, whole.scores.copy(), {}
        for index, best in enumerate(whole.best()):
            look = closer_look(prompts, index, logits[index, best], embedding.frame)
            if look is None:
                continue
            local = prompts_in(prompts, index, look, embedding.frame)
            found = self._answer(self._closer(embedding, look), local, multimask, None)
            if found.scores.max() > scores[index].max():
                details[index] = Detail(look.region, found.frame, found.low_res_logits[0])
                logits[index] = details[index].cells(embedding.frame)
                scores[index] = found.scores[0]
        return MaskPrediction(logits, scores, embedding.frame, details)

    def _closer(self, embedding: ImageEmbedding, look: Look) -> ImageEmbedding:
        """The embedding of a crop; those of the last crops are kept."""
        known = embedding._looks.get(look)
        if known is not None or embedding.picture is None:
            return known or embedding
        frame = Frame.fit(
            (look.height, look.width),
            least=look.long_side,
            most=look.long_side,
            multiple=self.spec.canvas_multiple,
            mask_stride=self.spec.mask_stride,
        )
        made = self._embed(np.ascontiguousarray(embedding.picture[look.region]), frame)
        embedding._looks[look] = made
        # A list is made at once: other threads may add to it or drop from it meanwhile.
        for old in list(embedding._looks)[:-LOOKS_KEPT]:
            embedding._looks.pop(old, None)
        return made

    def _answer(
        self,
        embedding: ImageEmbedding,
        prompts: Prompts,
        multimask: bool,
        least_score: float | None,
    ) -> MaskPrediction:
        """The network's masks, in the frame of what was embedded."""
        frame = embedding.frame
        points = self._tensor(prompts.points, frame.points_to_model)
        boxes = self._tensor(prompts.boxes, frame.boxes_to_model)
        labels = prompts.point_labels
        with self.runtime.active():
            logits, scores = self._model.decode(
                EncodedImage(embedding.features, embedding.skip),
                points=points,
                labels=None if labels is None else self._place(torch.tensor(labels)),
                boxes=boxes,
                mask=self._mask_prompt(prompts, frame),
                multimask=multimask,
                least_score=least_score,
            )
        low_res = logits.float().cpu().numpy()
        if self.spec.drops_fragments:
            low_res = drop_fragments(low_res, prompts, frame)
        return MaskPrediction(low_res, scores.float().cpu().numpy(), frame)

    @property
    def network(self) -> PromptableModel:
        """The network."""
        return self._model

    def frame(self, size: tuple[int, int]) -> Frame:
        """The frame that an image of (height, width) gets."""
        return Frame.fit(
            size,
            least=self.spec.least_size,
            most=self.spec.image_size,
            multiple=self.spec.canvas_multiple,
            mask_stride=self.spec.mask_stride,
            enlarge=self.spec.most_enlargement,
        )

    def _place(self, tensor: Tensor) -> Tensor:
        return tensor.to(self.runtime.device)

    def _tensor(self, values: NDArray[np.float32] | None, convert: "_Convert") -> Tensor | None:
        return None if values is None else self._place(torch.from_numpy(convert(values)))

    def _mask_prompt(self, prompts: Prompts, frame: Frame) -> Tensor | None:
        if prompts.mask_logits is None:
            return None
        mask = self._place(torch.tensor(prompts.mask_logits))[:, None]
        size = tuple(mask.shape[-2:])
        if size == frame.low_res:
            return mask
        if size == frame.original:
            return frame.to_low_res(mask)
        raise PromptError(
            f"mask_logits are {size[0]} x {size[1]}; for this image they must be low-res"
            f" ({frame.low_res[0]} x {frame.low_res[1]}) or of its own size"
            f" ({frame.original[0]} x {frame.original[1]})."
        )


class _Convert(Protocol):
    def __call__(self, values: NDArray[np.float32], /) -> NDArray[np.float32]: ...


def check_inside(prompts: Prompts, size: tuple[int, int]) -> None:
    """Refuse points outside an image of (height, width) and boxes that do not touch it.

    Raises
    ------
    PromptError
        Names the first offender and the size. A pixel's area reaches half a pixel around it.
    """
    last = np.array(size, np.float32) - 0.5
    if prompts.points is not None and prompts.point_labels is not None:
        real = prompts.points[prompts.point_labels >= 0]
        outside = ((real < -0.5) | (real > last)).any(-1)
        if outside.any():
            raise PromptError(
                f"point (y, x) = {real[outside][0].tolist()} lies outside the image of"
                f" {size[0]} x {size[1]} pixels."
            )
    if prompts.boxes is not None:
        boxes = prompts.boxes
        outside = (boxes[:, 2:] < -0.5).any(1) | (boxes[:, :2] > last).any(1)
        if outside.any():
            raise PromptError(
                f"box (y0, x0, y1, x1) = {boxes[outside][0].tolist()} lies outside the image of"
                f" {size[0]} x {size[1]} pixels."
            )


def load_predictor(
    name: str = DEFAULT_MODEL,
    *,
    weights: str | Path | None = None,
    device: str = "auto",
    precision: Precision = "exact",
    backend: Backend = "auto",
) -> Predictor:
    """Load a model by its registry name.

    Parameters
    ----------
    name
        See ``napari-sam models list``. The default is bundled; others are downloaded once.
    weights
        A local file (or Hugging Face folder) to use instead of the registered one.
    device, precision
        See :func:`~napari_sam.core.runtime.choose_runtime`.
    backend
        What computes the image embedding: ``"torch"``, ``"openvino"`` or ``"onnxruntime"`` (extras,
        on the CPU), or ``"auto"``: see :func:`~napari_sam.core.engines.best_engine`.

    Raises
    ------
    UnknownModelError, WeightsError, ModelError
        The model does not exist, its weights do not fit, or device or backend cannot run it.
    MissingExtraError
        The backend is not installed.
    OutOfMemoryError
        There is too little memory for the model.
    """
    spec = get_spec(name)
    check_choice(backend, precision, device=device)
    if backend == "auto":
        backend = best_engine(spec.architecture, precision, on_cpu=runs_on_cpu(device))
    runtime = choose_runtime(device, precision, engine=backend)
    with memory_errors():
        model = load_model(spec, weights=weights).to(runtime.device)
        model = fit_model(model, spec, runtime)
    runtime = replace(runtime, compiled=is_compiled(model))
    return Predictor(model, spec, runtime=runtime)  # type: ignore[arg-type]
