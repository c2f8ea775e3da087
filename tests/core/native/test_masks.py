"""Compiled thresholding of any region beside the logits themselves."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_sam.core.frame import Frame
from napari_sam.core.native.library import load_library
from napari_sam.core.native.masks import can_threshold, threshold
from napari_sam.core.upscale import columns, restore_region, rows
from tests.core.frames import SHAPES, frames_and_regions, noise

pytestmark = pytest.mark.skipif(load_library() is None, reason="no compiled library")


@settings(deadline=None)
@given(frames_and_regions(), st.integers(0, 99))
def test_any_region(place: tuple[Frame, tuple[slice, slice]], seed: int) -> None:
    frame, (y, x) = place
    low = noise(frame, seed)
    logits = restore_region(frame, low, (y, x))
    around = np.full((logits.shape[0] + 2, logits.shape[1] + 5), True)
    out = around[1:-1, 2:-3]
    threshold(low, rows(frame), columns(frame), (y, x), out)
    sure = np.abs(logits) > 1e-4
    assert (out == (logits > 0))[sure].all()
    assert sure.mean() > 0.99
    around[1:-1, 2:-3] = True
    assert around.all(), "written beside the region"


def test_wrong_arrays_are_refused() -> None:
    assert can_threshold()
    frame = Frame.fit((50, 70), **SHAPES[0])
    low = noise(frame, 0)
    whole = (slice(0, 50), slice(0, 70))
    with pytest.raises(ValueError, match="must be"):
        threshold(low, rows(frame), columns(frame), whole, np.zeros((50, 71), bool))
    with pytest.raises(ValueError, match="must be"):
        threshold(low, rows(frame), columns(frame), whole, np.zeros((70, 50), bool).T)
    beyond = (slice(0, 50), slice(1, 71))
    with pytest.raises(ValueError, match="within"):
        threshold(low, rows(frame), columns(frame), beyond, np.zeros((50, 70), bool))
