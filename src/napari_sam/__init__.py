"""napari-sam: Segment Anything for scientific images, in napari, scripts and on the command line.

The names below are the public scripting API. They are loaded when first used: importing this
package imports neither torch nor napari.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_sam.core.intensity import to_picture
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

__version__ = "0.1.0"
_HOME = {
    "ImageEmbedding": "core.predictor",
    "MODELS": "core.registry",
    "MaskPrediction": "core.predictor",
    "ModelSpec": "core.registry",
    "NapariSamError": "errors",
    "Predictor": "core.predictor",
    "Progress": "progress",
    "Prompts": "core.prompts",
    "get_spec": "core.registry",
    "load_predictor": "core.predictor",
    "to_picture": "core.intensity",
}
__all__ = [
    "MODELS",
    "ImageEmbedding",
    "MaskPrediction",
    "ModelSpec",
    "NapariSamError",
    "Predictor",
    "Progress",
    "Prompts",
    "get_spec",
    "load_predictor",
    "to_picture",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
