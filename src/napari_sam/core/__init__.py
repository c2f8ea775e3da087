"""One image: prompts, frames, networks, weights. Knows numpy and torch; no volumes, no GUI."""

import napari_sam.core.threads  # noqa: F401  (before torch: it sets how threads wait)
