"""The labelled images that a run learns from, and those held out. Knows packs and numpy only."""

import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.random import Generator

from napari_sam.errors import TrainingError
from napari_sam.evaluation.datasets import Sample
from napari_sam.evaluation.sources import open_images
from napari_sam.training.bundle import read_bundle

# Share of the real crops by modality; the rest is spread over whatever else the packs hold.
MODALITY_SHARES = {
    "fluorescence": 0.44,
    "histology": 0.18,
    "brightfield": 0.07,
    "phase-contrast": 0.11,
    "SEM": 0.09,
}
MOST_PLANES = 16  # of a stack: neighbours are nearly the same picture
SKIPPED_MODALITIES = {"fundus"}  # vessel trees are not objects that a click names


@dataclass(frozen=True)
class TrainingImages:
    """Labelled pictures by modality, with the probability of each modality.

    Attributes
    ----------
    by_modality
        At least one picture of at least one modality.
    manual_weight
        How many times more often a picture labelled by hand is drawn than another.
    """

    by_modality: dict[str, list[Sample]]
    manual_weight: float = 1.0

    @classmethod
    def from_samples(
        cls, samples: Iterable[Sample], *, manual_weight: float = 1.0
    ) -> "TrainingImages":
        """Sort labelled pictures by modality.

        Raises
        ------
        TrainingError
            There are none that an object could be learned from.
        """
        found: dict[str, list[Sample]] = {}
        for sample in samples:
            if sample.modality not in SKIPPED_MODALITIES:
                found.setdefault(sample.modality, []).append(sample)
        if not found:
            raise TrainingError("there is no labelled image to train on.")
        return cls(found, manual_weight)

    @classmethod
    def from_packs(cls, packs: list[Path], *, manual_weight: float = 1.0) -> "TrainingImages":
        """Read every usable item of the packs (folders or bundles) into memory.

        Raises
        ------
        TrainingError
            As :meth:`from_samples`.
        """
        samples = (sample for pack in packs for sample in read_labelled(pack))
        return cls.from_samples(samples, manual_weight=manual_weight)

    @property
    def samples(self) -> list[Sample]:
        """All pictures, in a fixed order."""
        return [s for modality in sorted(self.by_modality) for s in self.by_modality[modality]]

    def split(self, held_out: float) -> "tuple[TrainingImages, TrainingImages]":
        """Images to train on, and a share of each modality held out; chosen by the item's name.

        Planes of one stack stay together, a modality of a single item is all trained on, and an
        item stays on its side whatever else the packs hold.
        """
        parts: tuple[dict[str, list[Sample]], ...] = ({}, {})
        for modality, samples in self.by_modality.items():
            sides = [_draw_of(sample) < held_out for sample in samples]
            for sample, side in zip(samples, sides, strict=True):
                # Without any image to train on a modality cannot be judged either.
                parts[side and not all(sides)].setdefault(modality, []).append(sample)
        kept, aside = (TrainingImages(part, self.manual_weight) for part in parts)
        return kept, aside

    def shares(self) -> dict[str, float]:
        """Probability of each modality that is present; they sum to one."""
        named = {m: MODALITY_SHARES[m] for m in self.by_modality if m in MODALITY_SHARES}
        others = [m for m in self.by_modality if m not in MODALITY_SHARES]
        rest = 1 - sum(MODALITY_SHARES.values())
        weights = named | {m: rest / len(others) for m in others}
        total = sum(weights.values())
        return {m: weight / total for m, weight in weights.items()}

    def draw(self, rng: Generator) -> Sample:
        """One random picture."""
        shares = self.shares()
        names = sorted(shares)
        modality = names[rng.choice(len(names), p=[shares[n] for n in names])]
        pool = self.by_modality[modality]
        weights = np.array([self.manual_weight if _by_hand(s) else 1.0 for s in pool])
        return pool[rng.choice(len(pool), p=weights / weights.sum())]


def read_labelled(path: Path) -> Iterator[Sample]:
    """Labelled planes of a folder, an OME-Zarr, a COCO file, a pack or a bundle.

    Raises
    ------
    ImageError
        It is none of these, nothing in it is labelled, or image and labels do not fit together:
        see :func:`~napari_sam.evaluation.sources.open_images`.
    TrainingError
        A damaged bundle.
    """
    if path.suffix == ".zip":
        yield from read_bundle(path)
        return
    source = open_images(path)
    for item in source.items:
        yield from source.planes(item, MOST_PLANES)


def _by_hand(sample: Sample) -> bool:
    return bool(sample.item.get("gt_origin") == "manual")


def _draw_of(sample: Sample) -> float:
    """A number from 0 to 1 that depends on the item's name alone."""
    return zlib.crc32(sample.name.partition("#")[0].encode()) / 2**32
