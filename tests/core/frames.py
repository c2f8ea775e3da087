"""Frames of images of many sizes, logits and regions in them: for tests of upscaling."""

import numpy as np
from hypothesis import strategies as st

from napari_sam.core.frame import Frame

SIDES = st.integers(1, 400)
SHAPES = [
    {"least": 128, "most": 128, "multiple": 128, "mask_stride": 4},
    {"least": 64, "most": 256, "multiple": 16, "mask_stride": 4},
    {"least": 1, "most": 400, "multiple": 1, "mask_stride": 1},
]
FRAMES = st.builds(
    lambda height, width, numbers: Frame.fit((height, width), **numbers),
    SIDES,
    SIDES,
    st.sampled_from(SHAPES),
)


@st.composite
def frames_and_regions(draw: st.DrawFn) -> tuple[Frame, tuple[slice, slice]]:
    """A frame, and a region of at least a pixel of its image."""
    frame = draw(FRAMES)
    region = []
    for side in frame.original:
        start = draw(st.integers(0, side - 1))
        region.append(slice(start, draw(st.integers(start + 1, side))))
    return frame, (region[0], region[1])


def noise(frame: Frame, seed: int, bias: float = 0.0) -> np.ndarray:
    """Low-res logits."""
    rng = np.random.default_rng(seed)
    return (10 * rng.standard_normal(frame.low_res) + bias).astype(np.float32)
