"""Propagation in one call, for tests: labels of all planes, what was handed out, the summary."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from napari_sam import KeyPlane, PropagateParams, propagate_objects
from napari_sam.testing import FakePredictor
from napari_sam.volume.propagation.result import PlaneResult, Propagation, PropagationProgress

# Images of noise have no contrast; and what the model says is what comes out.
BOX = PropagateParams(mode="box", least_contrast=0.0, stiffness=0.0, grey_weight=0.0)


@dataclass
class Run:
    labels: np.ndarray
    results: list[PlaneResult]
    steps: list[PropagationProgress]
    summary: Propagation

    @property
    def origins(self) -> dict[int, dict[int, str]]:
        """Plane -> object -> origin."""
        return {r.plane: dict(zip(r.ids, r.origins, strict=True)) for r in self.results}


def run(
    image: Any,
    keys: list[KeyPlane],
    model: Any = None,
    params: PropagateParams = BOX,
    *,
    shape: tuple[int, int, int] | None = None,
    **kwargs: Any,
) -> Run:
    job = propagate_objects(image, keys, model or FakePredictor(), params, **kwargs)
    labels = np.zeros(shape or np.shape(image)[:3], np.int64)
    results, steps = [], []
    while True:
        try:
            step = next(job)
        except StopIteration as end:
            return Run(labels, results, steps, end.value)
        steps.append(step)
        results += step.results
        for result in step.results:
            result.paint(labels[result.plane])


def plane(shape: tuple[int, int], **boxes: tuple[int, int, int, int]) -> np.ndarray:
    """Labels with filled boxes (first row, first column, end row, end column): ``o7=(...)``."""
    labels = np.zeros(shape, np.int64)
    for name, (y0, x0, y1, x1) in boxes.items():
        labels[y0:y1, x0:x1] = int(name[1:])
    return labels


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, shape, np.uint8)
