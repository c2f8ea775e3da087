"""``napari-sam demo``: one shipped image, the bundled model, no network; files and a summary.

Knows how a user would click on bright spots, and how to open napari on a result. Ground truth is
used for the figure in the summary only, never for the clicks.
"""

import os
import sys
import time
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

import napari_sam
from napari_sam._objects import decode_objects, objects_of
from napari_sam._result_files import check_output, draw_overlay, write_labels, write_picture
from napari_sam._sample_data import SAMPLES, SampleImage

if TYPE_CHECKING:
    from napari_sam._objects import Point

SAMPLE = "nuclei_fluorescence"
SMOOTHING = 4.5  # pixels: half a nucleus' radius, so that its texture makes no second spot
LEAST_DISTANCE = 7  # pixels between two clicks: less than a nucleus is wide


@dataclass(frozen=True)
class DemoResult:
    """What the demo made.

    Attributes
    ----------
    labels
        (H, W) label image, one label a click.
    clicks
        (y, x) pixels.
    seconds
        What took how long, in the order in which it was done.
    quality
        Mean over the hand-drawn objects of the best IoU that any label has with them.
    """

    labels: NDArray[np.uint32]
    clicks: "tuple[Point, ...]"
    seconds: dict[str, float]
    quality: float


def run_demo(folder: Path, *, force: bool, window: bool) -> None:
    """Segment the sample, write labels.tif and overlay.png, tell about it; perhaps open napari.

    Parameters
    ----------
    folder
        For the results; made if it is not there.
    force
        Replace earlier results.
    window
        Open napari where there is a display and napari is installed.

    Raises
    ------
    OSError
        The results cannot be written, or are there already.
    WeightsError
        The package is damaged: its weights are missing.
    """
    sample = SAMPLES[SAMPLE]
    paths = (folder / "labels.tif", folder / "overlay.png")
    folder.mkdir(parents=True, exist_ok=True)
    for path in paths:
        check_output(path, force=force)
    image = sample.read_image()
    with Console(stderr=True).status("segmenting"):
        result = segment_sample(sample)
    provenance = {
        "version": napari_sam.__version__,
        "image": sample.name,
        "source": sample.source,
        "licence": sample.licence,
        "model": "tiny",
        "clicks": result.clicks,
    }
    write_labels(paths[0], result.labels, provenance=provenance)
    write_picture(paths[1], draw_overlay(napari_sam.to_picture(image), result.labels))
    _tell(sample, result, paths)
    if window and can_open_window():
        open_window(image, result.labels)


def segment_sample(sample: SampleImage, *, weights: Path | None = None) -> DemoResult:
    """Click on every bright spot of the sample and decode all clicks."""
    seconds: dict[str, float] = {}
    image = sample.read_image()
    with _Timer(seconds, "start the model"):
        predictor = napari_sam.load_predictor(weights=weights, device="cpu")
    with _Timer(seconds, "look at the image"):
        embedding = predictor.encode(image)
    clicks = find_spots(image)
    with _Timer(seconds, f"answer {len(clicks)} clicks"):
        objects = objects_of(clicks, (), (), each=True)
        labels = decode_objects(predictor, embedding, objects).to_labels()
    return DemoResult(labels, tuple(clicks), seconds, mean_best_iou(labels, sample.read_labels()))


def find_spots(image: NDArray[Any]) -> "list[Point]":
    """Local maxima of the smoothed picture that are brighter than its background, as (y, x)."""
    from skimage.feature import peak_local_max
    from skimage.filters import gaussian, threshold_otsu

    smooth = gaussian(image.astype(np.float32), SMOOTHING, preserve_range=True)
    peaks = peak_local_max(
        smooth,
        min_distance=LEAST_DISTANCE,
        threshold_abs=threshold_otsu(smooth) * 0.7,  # dim nuclei lie below the threshold itself
        exclude_border=False,
    )
    return [(float(y), float(x)) for y, x in peaks]


def mean_best_iou(labels: NDArray[Any], truth: NDArray[Any]) -> float:
    """For each object of ``truth`` the best IoU of any label; the mean of these, 0 to 1."""
    counts = np.zeros((int(truth.max()) + 1, int(labels.max()) + 1), np.int64)
    np.add.at(counts, (truth.ravel(), labels.ravel()), 1)
    union = counts.sum(1, keepdims=True) + counts.sum(0, keepdims=True) - counts
    iou = counts / np.maximum(union, 1)
    return float(iou[1:, 1:].max(1, initial=0).mean())


def can_open_window() -> bool:
    """Whether a napari window would be seen."""
    graphical = sys.platform in ("win32", "darwin")
    display = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    return bool(graphical or display) and find_spec("napari") is not None


def open_window(image: NDArray[Any], labels: NDArray[np.uint32]) -> None:
    """Open napari on the result with the dock widget beside it; return when it is closed."""
    import napari

    viewer = napari.Viewer(title="napari-sam demo")
    viewer.add_image(image, name=SAMPLE)
    viewer.add_labels(labels, name="labels")
    viewer.window.add_plugin_dock_widget("napari-sam", "Segment Anything")
    napari.run()


def _tell(sample: SampleImage, result: DemoResult, paths: tuple[Path, Path]) -> None:
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_row("image", f"{sample.title}, {sample.source}, {sample.licence}")
    table.add_row("model", "tiny: comes with the package, runs on the processor, nothing was sent")
    table.add_row(
        "objects", f"{len(np.unique(result.labels)) - 1}, from {len(result.clicks)} clicks"
    )
    for what, seconds in result.seconds.items():
        table.add_row("time", f"{seconds:.2f} s to {what}")
    table.add_row("quality", f"mean best IoU with the hand-drawn outlines: {result.quality:.3f}")
    table.add_row("labels", str(paths[0]))
    table.add_row("overlay", str(paths[1]))
    table.add_row("next", "napari-sam segment YOUR_IMAGE --point Y,X -o labels.tif")
    table.add_row("", "or in napari: Plugins > napari-sam > Segment Anything")
    Console(highlight=False).print(table)


class _Timer:
    """Writes how long a block took into a dict."""

    def __init__(self, seconds: dict[str, float], what: str) -> None:
        self._seconds = seconds
        self._what = what

    def __enter__(self) -> None:
        self._started = time.perf_counter()

    def __exit__(self, *exc: object) -> None:
        self._seconds[self._what] = time.perf_counter() - self._started
