import numpy as np
import pytest

from napari_sam.core.hierarchy import choose_level, parents
from napari_sam.core.masks import MaskRecord
from napari_sam.core.regions import tight_region


def square(y: int, x: int, side: int) -> MaskRecord:
    mask = np.zeros((200, 200), bool)
    mask[y : y + side, x : x + side] = True
    region = tight_region(mask)
    return MaskRecord(mask[region], region, mask.shape, 0.9, 1.0, (y, x), (0, 0, 200, 200))


# A cell with a nucleus that has a nucleolus; a second cell with nothing; a stray half overlap.
CELL, NUCLEUS, NUCLEOLUS = square(10, 10, 80), square(20, 20, 40), square(30, 30, 10)
OTHER, CROSSING = square(110, 110, 50), square(60, 70, 45)
ALL = [NUCLEOLUS, CELL, OTHER, NUCLEUS, CROSSING]


def test_each_mask_lies_in_the_smallest_that_holds_it() -> None:
    assert parents(ALL) == [3, None, None, 1, None]


def test_a_near_copy_is_no_part() -> None:
    assert parents([square(0, 0, 100), square(2, 2, 95)]) == [None, None]


def test_order_does_not_matter() -> None:
    back = parents(ALL[::-1])
    assert [None if p is None else ALL[::-1][p] for p in back[::-1]] == [
        None if p is None else ALL[p] for p in parents(ALL)
    ]


@pytest.mark.parametrize(
    ("level", "chosen"),
    [
        ("all", ALL),
        ("whole", [CELL, OTHER, CROSSING]),
        ("part", [OTHER, NUCLEUS, CROSSING]),
        ("subpart", [NUCLEOLUS, OTHER, CROSSING]),
    ],
)
def test_levels(level: str, chosen: list[MaskRecord]) -> None:
    assert choose_level(ALL, level) == chosen


def test_nothing_and_empty_masks_have_no_parents() -> None:
    assert parents([]) == []
    empty = MaskRecord(np.zeros((0, 0), bool), (slice(5, 5), slice(5, 5)), (200, 200), 0.1, 0.0,
                       (5, 5), (0, 0, 200, 200))  # fmt: skip
    assert parents([empty, CELL]) == [None, None]
