import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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


def disc(y: int, x: int, radius: int) -> MaskRecord:
    yy, xx = np.ogrid[:120, :140]
    mask = (yy - y) ** 2 + (xx - x) ** 2 <= radius**2
    region = tight_region(mask)
    return MaskRecord(mask[region], region, mask.shape, 0.9, 1.0, (y, x), (0, 0, 120, 140))


def naive_parents(records: list[MaskRecord]) -> list[int | None]:
    """Every mask at full size, every pair; of equally large wholes the last one."""
    masks = [record.mask() for record in records]
    found: list[int | None] = []
    for part in masks:
        pixels = np.argwhere(part)
        if not len(pixels):
            found.append(None)
            continue
        y, x = pixels[np.linspace(0, len(pixels) - 1, 256).astype(int)].T
        wholes = [
            (whole.sum(), -index)
            for index, whole in enumerate(masks)
            if part.sum() <= 0.8 * whole.sum() and whole[y, x].mean() >= 0.9
        ]
        found.append(-min(wholes)[1] if wholes else None)
    return found


PLACES, RADII = st.integers(20, 90), st.sampled_from([0, 3, 8, 20, 45])


@settings(deadline=None, max_examples=60)
@given(st.lists(st.builds(disc, PLACES, PLACES, RADII), max_size=12))
def test_it_is_what_all_pairs_of_full_masks_say(records: list[MaskRecord]) -> None:
    assert parents(records) == naive_parents(records)


def test_more_masks_than_a_block_of_boxes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("napari_sam.core.hierarchy.BLOCK", 2)
    assert parents(ALL) == [3, None, None, 1, None]
