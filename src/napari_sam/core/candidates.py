"""Raw answers of the point grid (stand-in until the two-stage generator is merged)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_sam.core.masks import MaskRecord


@dataclass(frozen=True, eq=False)
class Candidates:
    """All candidates of an image before any threshold."""

    records: tuple[MaskRecord, ...]
    shape: tuple[int, int]

    def __len__(self) -> int:
        return len(self.records)

    @property
    def scores(self) -> NDArray[np.float64]:
        """Predicted IoU of each."""
        return np.array([record.score for record in self.records])
