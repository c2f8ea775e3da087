"""Real images that the package ships: for File > Open Sample, the demo and tests.

Knows the files in ``samples/`` (sources and licences: ``samples/LICENSES.md``); knows no model and
needs no napari. None of these images was used to train the bundled model.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

LayerData = tuple[NDArray[Any], dict[str, Any], str]

_FOLDER = Path(__file__).with_name("samples")


@dataclass(frozen=True)
class SampleImage:
    """One shipped image.

    Attributes
    ----------
    name
        Short name; also the name of its files.
    title
        Name for people.
    licence
        SPDX name.
    source
        Data set and its citation.
    """

    name: str
    title: str
    licence: str
    source: str

    @property
    def image_path(self) -> Path:
        """The image's file."""
        return _FOLDER / f"{self.name}.png"

    def read_image(self) -> NDArray[Any]:
        """Pixels, (H, W) uint8 or uint16, or (H, W, 3) uint8."""
        return _read(self.image_path)

    def read_labels(self) -> NDArray[np.int32]:
        """Label image drawn by hand, (H, W): 0 background, objects 1 to n."""
        return _read(_FOLDER / f"{self.name}_labels.png").astype(np.int32)


_BBBC038 = "DSB2018 (BBBC038), Caicedo et al., Nature Methods 2019"
_ALL = (
    SampleImage("nuclei_fluorescence", "Nuclei, fluorescence (2D)", "CC0-1.0", _BBBC038),
    SampleImage("nuclei_histology", "Nuclei, stained tissue (RGB)", "CC0-1.0", _BBBC038),
    SampleImage(
        "cells_phase_contrast",
        "Cells, phase contrast (16 bit)",
        "MIT",
        "Usiigaci, Tsai et al., SoftwareX 2019",
    ),
)
SAMPLES: Mapping[str, SampleImage] = MappingProxyType({sample.name: sample for sample in _ALL})


def nuclei_fluorescence() -> list[LayerData]:
    """Napari layer data: 126 fluorescent nuclei, 520 x 696 pixels, 8 bit."""
    return _layers(SAMPLES["nuclei_fluorescence"])


def nuclei_histology() -> list[LayerData]:
    """Napari layer data: 64 stained nuclei, 256 x 320 pixels, RGB."""
    return _layers(SAMPLES["nuclei_histology"])


def cells_phase_contrast() -> list[LayerData]:
    """Napari layer data: 31 cells in phase contrast, 512 x 512 pixels, 16 bit."""
    return _layers(SAMPLES["cells_phase_contrast"])


def _layers(sample: SampleImage) -> list[LayerData]:
    provenance = {"source": sample.source, "licence": sample.licence}
    image = sample.read_image()
    layer = {"name": sample.name, "metadata": provenance, "rgb": image.ndim == 3}
    return [(image, layer, "image")]


def _read(path: Path) -> NDArray[Any]:
    with Image.open(path) as opened:
        return np.asarray(opened)
