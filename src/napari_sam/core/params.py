"""What a form or a flag may set about the core. Torch-free, frozen; official names kept."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from math import inf, isfinite
from numbers import Integral
from typing import Literal, TypeVar, get_args

import numpy as np
from numpy.typing import NDArray

from napari_sam.core.registry import ModelSpec
from napari_sam.errors import PromptError

_Params = TypeVar("_Params")  # a dataclass
Level = Literal["all", "whole", "part", "subpart"]

_LEAST_WHOLE = {
    "points_per_side": 1,
    "points_per_batch": 1,
    "crop_n_points_downscale_factor": 1,
    "crop_n_layers": 0,
}
_RANGES = {
    "pred_iou_thresh": (-inf, inf),
    "stability_score_thresh": (0.0, 1.0),
    "stability_score_offset": (0.0, inf),
    "box_nms_thresh": (0.0, inf),
    "crop_nms_thresh": (0.0, inf),
    "min_mask_region_area": (0, inf),
}


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
    adaptive
        Ask the grid's points from coarse to fine, and only those where nothing has been found yet
        and the picture is not flat: far fewer prompts, nearly the same objects.
    level
        Which of nested masks stay: see :func:`~napari_sam.core.hierarchy.choose_level`.
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
    level: Level = "all"

    def __post_init__(self) -> None:
        """Refuse settings that cannot work, naming them."""
        for name, least in _LEAST_WHOLE.items():
            value = getattr(self, name)
            if not isinstance(value, Integral) or value < least:
                raise PromptError(f"{name} is {value!r}; it must be a whole number from {least}.")
        for name, (lowest, highest) in _RANGES.items():
            value = getattr(self, name)
            if not (isfinite(value) and lowest <= value <= highest):
                bounds = f"at least {lowest:g}" if highest == inf else f"{lowest:g} to {highest:g}"
                raise PromptError(
                    f"{name} is {value!r}; it must be"
                    f" {'a finite number' if lowest == -inf else bounds}."
                )
        if not 0 <= self.crop_overlap_ratio < 1:
            raise PromptError(
                f"crop_overlap_ratio is {self.crop_overlap_ratio!r}; crops overlap by a share from"
                " 0 to less than 1 of the image."
            )
        if self.level not in get_args(Level):
            raise PromptError(f"level is {self.level!r}; known: {', '.join(get_args(Level))}.")
        if self.point_grids is not None:
            self._check_grids(self.point_grids)

    def _check_grids(self, grids: tuple[NDArray[np.float64], ...]) -> None:
        if self.adaptive:
            raise PromptError(
                "adaptive needs the regular grid, which it takes from coarse to fine: leave"
                " point_grids out, or set adaptive=False."
            )
        if len(grids) <= self.crop_n_layers:
            raise PromptError(
                f"there are {len(grids)} point_grids; {self.crop_n_layers + 1} layers need one"
                " each."
            )
        for layer, given in enumerate(grids):
            grid = np.asarray(given, np.float64)
            if grid.ndim != 2 or grid.shape[1] != 2 or not len(grid):
                raise PromptError(
                    f"the grid of layer {layer} has shape {grid.shape}; (N, 2) y, x is wanted."
                )
            if not ((grid >= 0) & (grid <= 1)).all():
                raise PromptError(
                    f"the grid of layer {layer} has points outside 0 to 1: they are shares of the"
                    " height and width, not pixels."
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
        return changed(self, changes)

    def side(self, layer: int) -> int:
        """Points along each side of a layer's regular grid."""
        return max(1, int(self.points_per_side / self.crop_n_points_downscale_factor**layer))

    def grid(self, layer: int) -> NDArray[np.float64]:
        """Points (N, 2) y, x of a layer in 0 to 1, row by row."""
        if self.point_grids is not None:
            return np.asarray(self.point_grids[layer], np.float64)
        side = self.side(layer)
        marks = np.linspace(1 / (2 * side), 1 - 1 / (2 * side), side)
        y, x = np.meshgrid(marks, marks, indexing="ij")
        return np.stack([y, x], -1).reshape(-1, 2)


def changed(params: _Params, changes: Mapping[str, object]) -> _Params:
    """A copy of some settings with other values.

    Raises
    ------
    PromptError
        A name is unknown; the message lists the known ones.
    """
    known = [field.name for field in fields(params)]  # type: ignore[arg-type]
    if unknown := [name for name in changes if name not in known]:
        raise PromptError(f"there is no setting {unknown[0]!r}; known: {', '.join(known)}.")
    return replace(params, **changes)  # type: ignore[type-var]
