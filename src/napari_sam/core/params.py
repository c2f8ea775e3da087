"""What a form or a flag may set about the core. Torch-free, frozen; official names kept."""

from dataclasses import dataclass, fields, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from napari_sam.core.registry import ModelSpec
from napari_sam.errors import PromptError


@dataclass(frozen=True)
class AutomaticParams:
    """Settings of the automatic mask generator; defaults are the official ones for SAM.

    Attributes
    ----------
    points_per_side
        Points along each side of the grid over the whole image.
    points_per_batch
        Points decoded at once.
    pred_iou_thresh, stability_score_thresh
        Masks whose predicted IoU or stability is not above are dropped (0: keep all).
    stability_score_offset
        How far, in logits, the threshold moves for the stability.
    box_nms_thresh, crop_nms_thresh
        Box IoU above which the lesser of two masks goes, within a crop and between crops.
    crop_n_layers, crop_overlap_ratio
        Layers of smaller crops (2, 4, ... a side), and their overlap as a share of the image.
    crop_n_points_downscale_factor
        Each layer's grid has so many times fewer points a side; never fewer than one.
    point_grids
        Own grids, one per layer, (N, 2) y, x in 0 to 1; replace ``points_per_side``.
    min_mask_region_area
        Holes and islands of fewer pixels are removed (0: none).
    """

    points_per_side: int = 32
    points_per_batch: int = 64
    pred_iou_thresh: float = 0.88
    stability_score_thresh: float = 0.95
    stability_score_offset: float = 1.0
    box_nms_thresh: float = 0.7
    crop_n_layers: int = 0
    crop_nms_thresh: float = 0.7
    crop_overlap_ratio: float = 512 / 1500
    crop_n_points_downscale_factor: int = 1
    point_grids: tuple[NDArray[np.float64], ...] | None = None
    min_mask_region_area: int = 0
    adaptive: bool = False
    level: Literal["all", "whole", "part", "subpart"] = "all"

    def __post_init__(self) -> None:
        """Refuse settings that cannot work, naming them."""
        for name in ("points_per_side", "points_per_batch", "crop_n_points_downscale_factor"):
            if getattr(self, name) < 1:
                raise PromptError(f"{name} is {getattr(self, name)}; it must be at least 1.")
        if self.point_grids is not None and len(self.point_grids) <= self.crop_n_layers:
            raise PromptError(
                f"there are {len(self.point_grids)} point_grids; {self.crop_n_layers + 1} layers"
                " need one each."
            )

    @classmethod
    def for_model(cls, spec: ModelSpec) -> "AutomaticParams":
        """Defaults for a model: official for SAM weights, own ones for the bundled model."""
        return cls(**dict(spec.automatic_defaults))  # type: ignore[arg-type]

    def changed(self, **changes: object) -> "AutomaticParams":
        """A copy with other values.

        Raises
        ------
        PromptError
            A name is unknown; the message lists the known ones.
        """
        known = [field.name for field in fields(self)]
        if unknown := [name for name in changes if name not in known]:
            raise PromptError(f"there is no setting {unknown[0]!r}; known: {', '.join(known)}.")
        return replace(self, **changes)  # type: ignore[arg-type]

    def grid(self, layer: int) -> NDArray[np.float64]:
        """Points (N, 2) y, x of a layer in 0 to 1, row by row."""
        if self.point_grids is not None:
            return np.asarray(self.point_grids[layer], np.float64)
        side = max(1, int(self.points_per_side / self.crop_n_points_downscale_factor**layer))
        marks = np.linspace(1 / (2 * side), 1 - 1 / (2 * side), side)
        y, x = np.meshgrid(marks, marks, indexing="ij")
        return np.stack([y, x], -1).reshape(-1, 2)
