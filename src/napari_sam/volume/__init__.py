"""Many tiles: images larger than memory, read, embedded, segmented and stitched piece by piece."""
