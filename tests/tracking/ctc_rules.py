"""The rules of the Cell Tracking Challenge for a folder of results, as its naming document says.

Written from that description alone, and reads the files with nothing of ours.
"""

import re
from pathlib import Path

import numpy as np
import tifffile


def faults(folder: Path, table: str, mask: str) -> list[str]:
    """What in a folder breaks the rules; empty where nothing does."""
    found = []
    rows = [line.split(" ") for line in (folder / table).read_text("ascii").splitlines()]
    if any(len(row) != 4 or not all(re.fullmatch(r"\d+", word) for word in row) for row in rows):
        return ["a line is not L B E P"]
    tracks = {int(label): (int(b), int(e), int(p)) for label, b, e, p in rows}
    if len(tracks) != len(rows):
        found.append("a label is there twice")
    names = sorted(path.name for path in folder.iterdir() if path.suffix == ".tif")
    digits = max(3, len(str(len(names) - 1)))
    if names != [f"{mask}{t:0{digits}d}.tif" for t in range(len(names))]:
        found.append(f"the masks are called {names}")
    frames = [tifffile.imread(folder / name) for name in names]
    if len({(frame.shape, frame.dtype.str) for frame in frames}) > 1:
        found.append("masks are of several kinds")
    if frames and frames[0].dtype != np.uint16:
        found.append("masks are not 16 bit")
    present = [set(np.unique(frame).tolist()) - {0} for frame in frames]
    for label, (begin, end, parent) in tracks.items():
        if not 1 <= label <= 65535 or not 0 <= begin <= end < len(frames):
            found.append(f"track {label} is out of range")
        if parent and parent not in tracks:
            found.append(f"the parent of {label} is no track")
        elif parent and tracks[parent][1] >= begin:
            found.append(f"the parent of {label} ends too late")
        if [label in here for here in present] != [begin <= t <= end for t in range(len(frames))]:
            found.append(f"track {label} is in other frames")
    strangers = set().union(*present) - set(tracks)
    if strangers:
        found.append(f"labels {strangers} are no tracks")
    return found
