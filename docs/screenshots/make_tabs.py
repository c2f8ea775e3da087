"""Make finetune.png and propagate.png for the manual: real work of the bundled model.

Run with a display or under Xvfb, from the repository; STACK is a TIFF of nuclei, such as cells3d::

    xvfb-run -a -s "-screen 0 1500x1600x24" python -m docs.screenshots.make_tabs STACK
"""

import argparse
import os
import tempfile
from pathlib import Path

os.environ["NAPARI_SAM_MODELS"] = tempfile.mkdtemp()  # no model among the user's own

import napari
import numpy as np
import tifffile
from skimage.io import imread

import napari_sam
from docs.screenshots.make_screenshot import process, shoot, wait_until
from napari_sam._widget import SegmentAnything

HERE = Path(__file__).parent
SAMPLES = Path(napari_sam.__file__).with_name("samples")
LONG_S = 1800


def open_window(image: np.ndarray, **options: object) -> tuple[napari.Viewer, SegmentAnything]:
    """A viewer with an image and the dock."""
    viewer = napari.Viewer(title="napari-sam")
    viewer.window._qt_window.resize(1400, 1100)
    viewer.add_image(image, **options)
    dock = SegmentAnything(viewer)
    viewer.window.add_dock_widget(dock, name="Segment Anything (napari-sam)")
    process(1.5)
    viewer.reset_view()
    process(0.5)
    return viewer, dock


def show_finetune(out: Path, *, minutes: float, looks: int) -> None:
    """A run that learns from a labelled layer, after some validations."""
    image = imread(SAMPLES / "nuclei_histology.png")
    viewer, dock = open_window(image, name="histology", rgb=True)
    viewer.window._qt_window.resize(1400, 1550)  # the page in one piece
    labels = imread(SAMPLES / "nuclei_histology_labels.png").astype(np.int32)
    viewer.add_labels(labels, name="by hand", opacity=0.4)
    dock.tabs.setCurrentWidget(dock.finetune_panel)
    dock.finetune.change(name="histology", minutes=minutes)
    dock.finetune_panel.start.click()
    state = dock.finetune
    wait_until(
        lambda: (
            (state.report is not None and len(state.report.validations) >= looks) or not state.busy
        ),
        timeout_s=LONG_S,
    )
    print(state.said)
    process(1.5)
    dock.grab().save(str(out / "finetune.png"))
    dock.finetune.cancel()
    wait_until(lambda: not state.busy, timeout_s=LONG_S)
    print(state.said, state.unfinished)
    dock.shut()
    viewer.close()


def show_propagate(out: Path, stack: Path, at: tuple[int, int, int]) -> None:
    """A nucleus that was carried through a stack."""
    viewer, dock = open_window(tifffile.imread(stack), name="nuclei", scale=(0.29, 0.26, 0.26))
    dock.tabs.setCurrentWidget(dock.stack_tab)
    viewer.dims.set_point(0, at[0] * 0.29)
    process(0.5)
    viewer.layers["prompts: points"].add(at)
    session, state = dock.session, dock.propagating
    wait_until(lambda: session.response is not None and not session.busy, timeout_s=LONG_S)
    dock.propagate_panel.propagate.click()
    wait_until(lambda: not state.busy, timeout_s=LONG_S)
    print(state.said, state.curve)
    process(1.0)
    shoot(viewer, out / "propagate.png")
    dock.shut()
    viewer.close()


def main() -> None:
    """Both pictures, or one of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stack", type=Path)
    parser.add_argument("--at", default="30,140,191", help="z,y,x of a nucleus in it")
    parser.add_argument("--out", type=Path, default=HERE)
    parser.add_argument("--minutes", type=float, default=4.0, help="of fine-tuning")
    parser.add_argument("--looks", type=int, default=3, help="validations before the picture")
    parser.add_argument("--only", choices=("finetune", "propagate"))
    given = parser.parse_args()
    z, y, x = (int(n) for n in given.at.split(","))
    if given.only != "finetune":
        show_propagate(given.out, given.stack, (z, y, x))
    if given.only != "propagate":
        show_finetune(given.out, minutes=given.minutes, looks=given.looks)


if __name__ == "__main__":
    main()
