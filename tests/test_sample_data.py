"""Sample images: small, whole, licensed."""

import numpy as np
import pytest

from napari_sam import _sample_data
from napari_sam._sample_data import SAMPLES

COUNTS = {"nuclei_fluorescence": 126, "nuclei_histology": 64, "cells_phase_contrast": 31}


@pytest.mark.parametrize("name", SAMPLES)
def test_image_and_labels_belong_together(name: str) -> None:
    sample = SAMPLES[name]
    image, labels = sample.read_image(), sample.read_labels()
    assert image.shape[:2] == labels.shape
    assert np.unique(labels).tolist() == list(range(COUNTS[name] + 1))
    assert image.std() > 0
    assert sample.image_path.stat().st_size < 300_000


@pytest.mark.parametrize("name", SAMPLES)
def test_napari_gets_one_image_layer_with_its_source(name: str) -> None:
    ((data, options, kind),) = getattr(_sample_data, name)()
    assert kind == "image"
    assert options["name"] == name
    assert options["rgb"] == (data.ndim == 3)
    assert options["metadata"]["licence"] == SAMPLES[name].licence


def test_every_file_has_its_licence_written_down() -> None:
    folder = SAMPLES["nuclei_histology"].image_path.parent
    text = (folder / "LICENSES.md").read_text(encoding="utf-8")
    for sample in SAMPLES.values():
        row = next(line for line in text.splitlines() if line.startswith(f"| `{sample.name}.png`"))
        assert sample.licence in row
    known = {f"{name}{part}.png" for name in SAMPLES for part in ("", "_labels")}
    assert {path.name for path in folder.iterdir()} == known | {"LICENSES.md"}
