import numpy as np
import pytest

from napari_sam.errors import PromptError
from napari_sam.volume.link import LinkParams, link_planes
from napari_sam.volume.overlaps import Overlaps, count_overlaps


def linked(planes: list[np.ndarray], **changes: object) -> tuple[np.ndarray, int]:
    params = LinkParams(**changes)  # type: ignore[arg-type]
    areas = [np.bincount(plane.ravel()) for plane in planes]
    reach = range(1, params.gap + 2)
    overlaps = {
        (low, low + step): count_overlaps(planes[low], planes[low + step])
        for step in reach
        for low in range(len(planes) - step)
    }
    tables, count = link_planes(areas, overlaps, params)
    return np.stack([t[p] for t, p in zip(tables, planes, strict=True)]), count


def row(text: str) -> np.ndarray:
    return np.array([[int(letter) for letter in text.replace(".", "0")]])


def test_the_best_partner_goes_on_and_the_other_ends() -> None:
    found, count = linked([row("1111112222"), row("1111111111")])
    assert count == 2
    assert found[1, 0, 0] == found[0, 0, 0] != found[0, 0, 9]


def test_little_overlap_is_no_link_but_a_cap_is() -> None:
    found, count = linked([row("11111....."), row("....11111.")])
    assert count == 2 and found[0, 0, 0] != found[1, 0, 5]
    assert linked([row(".11......."), row("1111111111")])[1] == 1
    assert linked([row(".11......."), row("1111111111")], covered=1.0, iou=0.1)[1] == 1
    assert linked([row("111......."), row("..11111111")], covered=0.9)[1] == 2


def test_a_gap_is_bridged_only_where_allowed() -> None:
    planes = [row(".1111....."), row(".........."), row(".1111.....")]
    assert linked(planes)[1] == 2
    assert linked(planes, gap=1)[1] == 1
    assert linked(planes, gap=1, planes_apart=True)[1] == 2


def test_small_objects_go_and_numbers_stay_compact() -> None:
    planes = [row("11.2222.33"), row("11.2222...")]
    found, count = linked(planes, min_size=4)
    assert count == 2
    assert np.unique(found).tolist() == [0, 1, 2]
    assert (found[0, 0, 8:] == 0).all()


def test_nothing_at_all() -> None:
    assert link_planes([np.zeros(1, int)] * 2, {(0, 1): Overlaps.none()}, LinkParams())[1] == 0


@pytest.mark.parametrize("wrong", [{"iou": 0.0}, {"covered": 1.5}, {"gap": -1}, {"min_size": -1}])
def test_settings_that_cannot_be_are_said(wrong: dict[str, float]) -> None:
    with pytest.raises(PromptError, match=next(iter(wrong))):
        LinkParams(**wrong)  # type: ignore[arg-type]
