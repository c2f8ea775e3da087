"""The automatic protocol on images whose figures are known beforehand."""

import numpy as np
import pytest

from napari_sam.core.masks import MaskRecord, records_to_labels
from napari_sam.evaluation.datasets import Sample
from napari_sam.evaluation.everything import (
    fully_annotated,
    match_image,
    record_ious,
    summarise_everything,
)
from napari_sam.evaluation.matching import THRESHOLDS


def square(y: int, x: int, side: int, *, score: float = 0.9) -> MaskRecord:
    return MaskRecord(
        patch=np.ones((side, side), bool),
        region=(slice(y, y + side), slice(x, x + side)),
        score=score,
        stability=1.0,
        point=(float(y), float(x)),
        crop=(0, 0, 59, 59),
        shape=(60, 60),
    )


def sample(*squares: tuple[int, int, int], name: str = "a") -> Sample:
    labels = np.zeros((60, 60), np.int32)
    for label, (y, x, side) in enumerate(squares, start=3):
        labels[y : y + side, x : x + side] = label
    return Sample(name, "fluorescence", "x", np.zeros((60, 60, 3), np.uint8), labels, {})


def matches(truth: Sample, *records: MaskRecord, group: str = "g"):
    return match_image(truth, records, records_to_labels(records, (60, 60)), group=group)


def test_ious_of_records_are_those_of_their_masks():
    truth = sample((0, 0, 10), (20, 20, 10), (25, 45, 6))
    records = [square(0, 0, 10), square(22, 20, 10), square(5, 5, 30)]
    table = record_ious(truth, records)
    for i, label in enumerate((3, 4, 5)):
        for j, record in enumerate(records):
            both = (truth.labels == label) & record.mask()
            either = (truth.labels == label) | record.mask()
            assert table[i, j] == pytest.approx(both.sum() / either.sum())


def test_a_row_of_the_report():
    first = matches(
        sample((0, 0, 10), (20, 20, 10)), square(0, 0, 10), square(40, 40, 9, score=0.95)
    )
    second = matches(sample((0, 0, 10), name="b"), square(2, 0, 10))
    (row,) = summarise_everything([first, second])
    assert (row.name, row.n_images, row.n_objects) == ("g", 2, 3)
    assert row.f1.mean == pytest.approx(2 * 2 / (2 * 2 + 1 + 1))
    assert row.f1.low is not None
    assert row.f1.low <= row.f1.mean <= row.f1.high
    assert row.f1_75 == pytest.approx(2 * 1 / (2 * 1 + 2 + 2))
    assert row.accuracy == pytest.approx(2 / 4)
    by_hand = [2 / 4 if t <= 8 / 12 else 1 / 5 for t in THRESHOLDS]
    assert row.mean_accuracy == pytest.approx(np.mean(by_hand))
    assert row.panoptic == pytest.approx((1 + 8 / 12) / 3)
    assert row.best_iou == pytest.approx((1 + 0 + 8 / 12) / 3)
    assert 0 < row.mean_precision < row.precision < 1


def test_nothing_found():
    (row,) = summarise_everything([matches(sample((0, 0, 10)))])
    assert (row.f1.mean, row.precision, row.best_iou) == (0, 0, 0)


def test_groups_stay_apart():
    rows = summarise_everything(
        [
            matches(sample((0, 0, 10)), square(0, 0, 10), group="z"),
            matches(sample((0, 0, 10)), group="b"),
        ]
    )
    assert [(row.name, row.f1.mean) for row in rows] == [("b", 0), ("z", 1)]


@pytest.mark.parametrize(
    ("kind", "sparse", "whole"),
    [("instance", False, True), ("instance", True, False), ("semantic", False, False)],
)
def test_who_may_take_part(kind: str, sparse: bool, whole: bool):
    assert fully_annotated({"label_kind": kind, "sparse_annotation": sparse}) is whole
