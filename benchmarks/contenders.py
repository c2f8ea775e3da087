"""The official packages, transformers and ours behind one face: :class:`Contender`.

Building one that cannot run raises :class:`Unavailable` with the reason. Ours is used by its public
API only. Exported networks are in ``exported.py``; who takes part is said in ``lineup.py``.
"""

import importlib
from abc import ABC
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

import napari_sam
from benchmarks.models import official_package, sam_config, weights_file
from napari_sam.core.architecture import ViTConfig
from tests.parity.compare import scale_longest_side
from tests.parity.peers import OfficialPeer, TransformersPeer, available, fill_peer
from tests.parity.shims import stand_ins

Ability = Literal["encode", "click", "batch", "automatic"]
Picture = NDArray[np.uint8]
OFFICIAL = "official"


class Unavailable(Exception):  # noqa: N818  (an answer, not an error)
    """Why a contender does not take part."""


@dataclass(frozen=True)
class Answer:
    """Masks of prompts.

    Attributes
    ----------
    masks
        (B, M, H, W) bool at the image's size; None if only low-res logits were asked for.
    low_res
        (B, M, h, w) float32 logits.
    scores
        (B, M) predicted IoU.
    """

    masks: NDArray[np.bool_] | None
    low_res: NDArray[np.float32]
    scores: NDArray[np.float32]


class Contender(ABC):
    """One way to run a model. Pictures are (H, W, 3) uint8; positions (y, x) of the image."""

    abilities: ClassVar[frozenset[Ability]]

    def encode(self, picture: Picture) -> NDArray[np.float32]:
        """Embedding (C, h, w) of a picture."""
        raise NotImplementedError

    def look_at(self, picture: Picture) -> None:
        """Encode a picture and keep the embedding for what follows."""
        raise NotImplementedError

    def click(self, point: tuple[float, float]) -> Answer:
        """Three masks at the image's size."""
        raise NotImplementedError

    def points(self, points: NDArray[np.float64]) -> Answer:
        """Low-res logits of three masks for each of (B, 2) points, in one batch."""
        raise NotImplementedError

    def boxes(self, boxes: NDArray[np.float64]) -> Answer:
        """One mask at the image's size for each of (B, 4) boxes y0, x0, y1, x1, in one batch."""
        raise NotImplementedError


def _load_peer(package: str, model: str, folder: Path) -> Any:
    path = weights_file(model, folder)
    assert path is not None
    state = torch.load(path, mmap=True, weights_only=True)
    return fill_peer(package, sam_config(model), lambda key, _: state[key])


class Official(Contender):
    """``segment_anything`` or ``mobile_sam`` by its ``SamPredictor``."""

    abilities = frozenset({"encode", "click", "batch", "automatic"})

    def __init__(self, model: str, folder: Path) -> None:
        package = official_package(model)
        if package is None:
            raise Unavailable("has no such model")
        if not available(package):
            raise Unavailable(f"{package} is not installed")
        peer = _load_peer(package, model, folder)
        assert isinstance(peer, OfficialPeer)
        self.module = peer.module
        self.package = package
        with stand_ins():
            code: Any = importlib.import_module(f"{package}.predictor")
        self.predictor = code.SamPredictor(self.module)

    def encode(self, picture: Picture) -> NDArray[np.float32]:
        """Embed."""
        self.look_at(picture)
        return np.asarray(self.predictor.get_image_embedding()[0].numpy())

    def look_at(self, picture: Picture) -> None:
        """Set the image."""
        self.predictor.set_image(picture)

    def click(self, point: tuple[float, float]) -> Answer:
        """Predict."""
        masks, scores, low_res = self.predictor.predict(
            point_coords=np.array([point[::-1]]), point_labels=np.ones(1), multimask_output=True
        )
        return Answer(masks[None], low_res[None], scores[None])

    @torch.inference_mode()
    def points(self, points: NDArray[np.float64]) -> Answer:
        """Run prompt encoder and decoder as ``predict_torch`` does, without its upscaling."""
        scaled = self._scale(points[:, None, ::-1])
        encoder = self.module.prompt_encoder
        sparse, dense = encoder(points=(scaled, torch.ones(len(points), 1)), boxes=None, masks=None)
        low_res, scores = self.module.mask_decoder(
            image_embeddings=self.predictor.features,
            image_pe=encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=True,
        )
        return Answer(None, low_res.numpy(), scores.numpy())

    def boxes(self, boxes: NDArray[np.float64]) -> Answer:
        """Predict a batch of boxes."""
        corners = self._scale(boxes.reshape(-1, 2, 2)[..., ::-1]).reshape(-1, 4)
        masks, scores, low_res = self.predictor.predict_torch(
            None, None, boxes=corners, multimask_output=False
        )
        return Answer(masks.numpy(), low_res.numpy(), scores.numpy())

    def _scale(self, points_xy: NDArray[np.float64]) -> torch.Tensor:
        size = self.predictor.original_size
        scaled = self.predictor.transform.apply_coords(np.ascontiguousarray(points_xy), size)
        return torch.as_tensor(scaled, dtype=torch.float32)


class Transformers(Contender):
    """``transformers``' ``SamModel``, with the attention that it chooses (SDPA)."""

    abilities = frozenset({"encode", "click"})

    def __init__(self, model: str, folder: Path) -> None:
        if official_package(model) is None or not isinstance(sam_config(model).encoder, ViTConfig):
            raise Unavailable("has no such model")
        if not available("transformers"):
            raise Unavailable("transformers is not installed")
        peer = _load_peer("transformers", model, folder)
        assert isinstance(peer, TransformersPeer)
        self._peer = peer
        self._side = sam_config(model).image_size

    @torch.inference_mode()
    def encode(self, picture: Picture) -> NDArray[np.float32]:
        """Embed."""
        self.look_at(picture)
        return np.asarray(self._features[0].numpy())

    @torch.inference_mode()
    def look_at(self, picture: Picture) -> None:
        """Embed and keep."""
        scaled = scale_longest_side(picture, self._side)
        self._original, self._scaled = picture.shape[:2], scaled.shape[:2]
        self._features = self._peer.encode(torch.from_numpy(scaled).permute(2, 0, 1)[None].float())

    @torch.inference_mode()
    def click(self, point: tuple[float, float]) -> Answer:
        """Decode, then upscale as the processor's ``post_process_masks`` does."""
        scale = [s / o for s, o in zip(self._scaled, self._original, strict=True)]
        place = torch.tensor([[[point[1] * scale[1], point[0] * scale[0]]]])
        answer = self._peer.module(
            image_embeddings=self._features,
            input_points=place[None],
            input_labels=torch.ones(1, 1, 1, dtype=torch.int64),
            multimask_output=True,
        )
        low_res = answer.pred_masks[0]
        height, width = self._scaled
        fine = F.interpolate(low_res, (self._side,) * 2, mode="bilinear", align_corners=False)
        fine = fine[..., :height, :width]
        full = F.interpolate(fine, self._original, mode="bilinear", align_corners=False)
        return Answer((full > 0).numpy(), low_res.numpy(), answer.iou_scores[0].numpy())


class Ours(Contender):
    """napari-sam by its public API."""

    abilities = frozenset({"encode", "click", "batch", "automatic"})

    def __init__(self, model: str, folder: Path, precision: Literal["exact", "fast"]) -> None:
        weights = weights_file(model, folder)
        try:
            self.predictor = napari_sam.load_predictor(
                model, weights=weights, device="cpu", precision=precision
            )
        except napari_sam.NapariSamError as error:
            if precision == "exact":  # must run everywhere
                raise
            raise Unavailable(str(error)) from error

    def encode(self, picture: Picture) -> NDArray[np.float32]:
        """Embed."""
        self.look_at(picture)
        return np.asarray(self._embedding.features[0].numpy())

    def look_at(self, picture: Picture) -> None:
        """Embed and keep."""
        self._embedding = self.predictor.encode(picture, intensity="as_is")

    def click(self, point: tuple[float, float]) -> Answer:
        """Decode and upscale."""
        return self._decode(points=[[point]], point_labels=[[1]], full=True, multimask=True)

    def points(self, points: NDArray[np.float64]) -> Answer:
        """Decode a batch."""
        ones = np.ones((len(points), 1), np.int64)
        return self._decode(points=points[:, None], point_labels=ones, full=False, multimask=True)

    def boxes(self, boxes: NDArray[np.float64]) -> Answer:
        """Decode a batch of boxes and upscale."""
        return self._decode(boxes=boxes, full=True, multimask=False)

    def _decode(self, *, full: bool, multimask: bool, **prompts: Any) -> Answer:
        prediction = self.predictor.decode(
            self._embedding, napari_sam.Prompts(**prompts), multimask=multimask
        )
        masks = prediction.masks() if full else None
        return Answer(masks, prediction.low_res_logits, prediction.scores)


class MicroSam(Contender):
    """``micro_sam``: only the reason why it has no row of its own."""

    abilities = frozenset({"encode", "click", "batch", "automatic"})

    def __init__(self, model: str, folder: Path) -> None:
        reason = "its encoder and decoder are segment_anything's: see the official row"
        if not available("micro_sam"):
            reason = f"not installed (pip alone cannot bring all that it needs); {reason}"
        raise Unavailable(reason)
