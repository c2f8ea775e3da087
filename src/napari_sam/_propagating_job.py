"""Propagation as the dock's job: what was drawn is found, then objects are carried on.

A generator of Progress. Knows labels and the library's job; no session, no layers, no threads.
"""

from collections.abc import Generator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from napari_sam._predict import Load, weights_of
from napari_sam._propagation_run import PropagateRequest
from napari_sam._way import drawn_planes
from napari_sam.errors import PromptError
from napari_sam.progress import Progress

if TYPE_CHECKING:
    from napari_sam.volume.propagation.key_plane import KeyPlane
    from napari_sam.volume.propagation.result import Propagation


@dataclass(frozen=True)
class KeysFound(Progress):
    """Planes on which somebody has drawn, and the weights of the model."""

    keys: "dict[int, KeyPlane]" = field(default_factory=dict, compare=False)
    weights: str = ""


def run_propagation(
    request: PropagateRequest, load: Load
) -> Generator[Progress, None, "Propagation"]:
    """Find the key planes, and carry the objects through the stack. A job.

    Raises
    ------
    NapariSamError
        From reading, the model, or settings that do not fit.
    """
    yield Progress(0, 0, "Loading the model ...")
    predictor = load(request.model)
    from napari_sam.volume.propagation.job import propagate_objects

    yield Progress(0, 0, "Looking for what is drawn ...")
    keys = {**request.keys, **_drawn(request)}
    if not any(key.ids for key in keys.values()):
        raise PromptError("Nothing is left of the objects on any plane: draw one of them first.")
    weights = weights_of(load, request.model)
    yield KeysFound(0, 0, f"{len(keys)} key planes", keys, weights)
    planes = [plane for plane, key in keys.items() if key.ids]
    params = request.settings.params(request.way, planes)
    return (
        yield from propagate_objects(
            request.image(),
            [key for p, key in sorted(keys.items()) if _within(p, params)],
            predictor,  # type: ignore[arg-type]
            params,
            along=request.way.along,  # type: ignore[arg-type]
            at=request.way.at,
            intensity=request.intensity,
            channels=request.channels,
            memory=request.memory,
        )
    )


def _within(plane: int, params: object) -> bool:
    first, last = params.first_plane, params.last_plane  # type: ignore[attr-defined]
    return bool(first <= plane <= last)


def _drawn(request: PropagateRequest) -> "dict[int, KeyPlane]":
    """Key planes by what is drawn; what was known of others on the same plane stays."""
    from napari_sam.volume.propagation.key_plane import KeyPlane

    found: dict[int, KeyPlane] = {}
    if request.region is None:
        return found
    for plane, labels, absent in drawn_planes(
        request.labels, request.way, request.region, request.made, request.ids
    ):
        known = request.keys.get(plane)
        if known is not None and known.labels is not None:
            merged = known.labels.astype("uint64")
            changed = absent | (set() if labels is None else set(labels[labels > 0].tolist()))
            for one in changed:
                merged[merged == one] = 0
            if labels is not None:
                merged[labels > 0] = labels[labels > 0]
            labels = merged if merged.any() else None
        absent = absent | (known.absent if known else frozenset())
        here = set() if labels is None else set(labels[labels > 0].tolist())
        found[plane] = KeyPlane(plane, labels, absent=absent - here)
    return found
