"""Packs as one small file, for a machine that is lent for minutes: pictures as models see them.

A zip of lossless WebP pictures, PNG labels and the manifest. What it holds is what
:class:`~napari_sam.training.images.TrainingImages` would read from the packs, bit by bit, unless it
had to be thinned out to fit the size.
"""

import io
import json
import os
import zipfile
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from napari_sam.errors import TrainingError
from napari_sam.evaluation.datasets import MANIFEST, Sample
from napari_sam.progress import Progress

MOST_MEGABYTES = 60.0
_MOST_LABELS = 1 << 16


@dataclass(frozen=True)
class BundleReport:
    """What was written: items, items left out for the size, and bytes."""

    items: int
    left_out: int
    size: int


def write_bundle(
    samples: list[Sample], path: Path, *, most_megabytes: float = MOST_MEGABYTES
) -> Generator[Progress, None, BundleReport]:
    """Write labelled pictures to one file; a job.

    Where they do not fit, the largest pictures are left out first, evenly over the modalities.

    Raises
    ------
    TrainingError
        Nothing fits, or an image has too many labels.
    """
    packed = []
    for number, sample in enumerate(samples):
        yield Progress(number, len(samples), f"packing {sample.name}")
        packed.append((sample, _picture_bytes(sample.picture), _label_bytes(sample)))
    kept = _choose([len(p) + len(t) for _, p, t in packed], samples, most_megabytes * 1e6)
    if not kept:
        raise TrainingError(f"no image fits into {most_megabytes:g} MB.")
    partial = path.with_suffix(path.suffix + ".partial")
    items = []
    with zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as archive:
        for number in kept:
            sample, picture, labels = packed[number]
            archive.writestr(f"{number}.webp", picture)
            archive.writestr(f"{number}.png", labels)
            items.append(
                {
                    "number": number,
                    "name": sample.name,
                    "modality": sample.modality,
                    "dataset": sample.dataset,
                    "item": dict(sample.item),
                }
            )
        archive.writestr(MANIFEST, json.dumps({"items": items}))
    os.replace(partial, path)
    return BundleReport(len(kept), len(packed) - len(kept), path.stat().st_size)


def read_bundle(path: Path) -> Iterator[Sample]:
    """Labelled pictures of a bundle.

    Raises
    ------
    TrainingError
        The file is no bundle, or damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            for entry in json.loads(archive.read(MANIFEST))["items"]:
                number = entry["number"]
                yield Sample(
                    name=entry["name"],
                    modality=entry["modality"],
                    dataset=entry["dataset"],
                    picture=_pixels(archive.read(f"{number}.webp")),
                    labels=_pixels(archive.read(f"{number}.png")).astype(np.int32),
                    item=entry["item"],
                )
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise TrainingError(
            f"{path} is no bundle of labelled images ({error}): make one with napari-sam pack."
        ) from error


def _choose(sizes: list[int], samples: list[Sample], most: float) -> list[int]:
    """Numbers of what is kept: the smallest of each modality, in turn, until it is full."""
    by_modality: dict[str, list[int]] = {}
    for number in sorted(range(len(sizes)), key=lambda n: (sizes[n], n)):
        by_modality.setdefault(samples[number].modality, []).append(number)
    share = {m: sum(sizes[n] for n in numbers) for m, numbers in by_modality.items()}
    total = sum(share.values()) + 400 * len(sizes)  # and what the archive says of each
    if total <= most:
        return list(range(len(sizes)))
    kept = []
    for modality, numbers in by_modality.items():
        room = most * share[modality] / total
        for number in numbers:
            room -= sizes[number] + 400
            if room >= 0:
                kept.append(number)
    return sorted(kept)


def _picture_bytes(picture: NDArray[np.uint8]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "WEBP", lossless=True, exact=True)
    return file.getvalue()


def _label_bytes(sample: Sample) -> bytes:
    _, compact = np.unique(sample.labels, return_inverse=True)
    compact = compact.reshape(sample.labels.shape) + (0 if (sample.labels == 0).any() else 1)
    if compact.max() >= _MOST_LABELS:
        raise TrainingError(f"{sample.name} has {compact.max()} objects: 65,535 at most.")
    file = io.BytesIO()
    Image.fromarray(compact.astype(np.uint16)).save(file, "PNG", optimize=True)
    return file.getvalue()


def _pixels(content: bytes) -> NDArray[np.uint8]:
    with Image.open(io.BytesIO(content)) as opened:
        return np.asarray(opened)
