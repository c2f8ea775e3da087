"""napari-sam: Segment Anything for scientific images, in napari, scripts and on the command line.

The names below are the public scripting API. They are loaded when first used: importing this
package imports neither torch nor napari.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_sam.core.automatic import segment_everything
    from napari_sam.core.intensity import to_picture
    from napari_sam.core.masks import MaskRecord, records_to_labels
    from napari_sam.core.params import AutomaticParams
    from napari_sam.core.predictor import (
        ImageEmbedding,
        MaskPrediction,
        Predictor,
        load_predictor,
    )
    from napari_sam.core.prompts import Prompts
    from napari_sam.core.registry import MODELS, ModelSpec, get_spec
    from napari_sam.errors import NapariSamError
    from napari_sam.progress import Progress
    from napari_sam.volume.propagation.job import propagate_objects
    from napari_sam.volume.propagation.key_plane import KeyPlane
    from napari_sam.volume.propagation.params import PropagateParams

__version__ = "0.1.0"
_HOME = {
    "AutomaticParams": "core.params",
    "ImageEmbedding": "core.predictor",
    "KeyPlane": "volume.propagation.key_plane",
    "MODELS": "core.registry",
    "MaskPrediction": "core.predictor",
    "MaskRecord": "core.masks",
    "ModelSpec": "core.registry",
    "NapariSamError": "errors",
    "Predictor": "core.predictor",
    "Progress": "progress",
    "PropagateParams": "volume.propagation.params",
    "Prompts": "core.prompts",
    "get_spec": "core.registry",
    "load_predictor": "core.predictor",
    "propagate_objects": "volume.propagation.job",
    "records_to_labels": "core.masks",
    "segment_everything": "core.automatic",
    "to_picture": "core.intensity",
}
__all__ = [
    "MODELS",
    "AutomaticParams",
    "ImageEmbedding",
    "KeyPlane",
    "MaskPrediction",
    "MaskRecord",
    "ModelSpec",
    "NapariSamError",
    "Predictor",
    "Progress",
    "Prompts",
    "PropagateParams",
    "get_spec",
    "load_predictor",
    "propagate_objects",
    "records_to_labels",
    "segment_everything",
    "to_picture",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
