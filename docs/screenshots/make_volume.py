"""Make volume.png and paint.png for the manual: a large plane in tiles, in the real window.

Run with a display or under Xvfb, from the repository::

    xvfb-run -a -s "-screen 0 1500x1000x24" python -m docs.screenshots.make_volume
"""

import tempfile
from pathlib import Path

from benchmarks import large_window
from benchmarks.large_volume import CHUNK, corners, make
from benchmarks.large_window import Sitting, nucleus

SIDE = 8192
PLANE = 10
HERE = Path(__file__).parent


def main() -> None:
    """Open, click, keep, segment what is in view, paint."""
    large_window.PATIENCE_S = 3600  # of a busy machine
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tissue.zarr"
        make(path, side=SIDE)
        first, second = corners(SIDE)[:2]
        sitting = Sitting(path)
        sitting.open()
        dock = sitting.dock
        dock.tabs.setCurrentWidget(dock.volume_panel)
        middle = (first[0] + CHUNK // 2, second[1])
        sitting.go_to(*middle, PLANE, 3.0)
        dock.session.choose_tool("positive")
        for place in (first, second):
            y, x = nucleus(place, path, PLANE)
            sitting.go_to(y, x, PLANE, 3.0)
            sitting.click(y, x)
            sitting.keep()
        sitting.go_to(*middle, PLANE, 3.0)
        sitting.wait(lambda: not dock.volume_jobs.ahead.running, "look ahead")
        sitting.segment_view()
        sitting.rest(1.0)
        sitting.screenshot(HERE / "volume.png")
        sitting.go_to(*middle, PLANE, 6.0)
        sitting.paint()
        sitting.screenshot(HERE / "paint.png")
        sitting.close()


if __name__ == "__main__":
    main()
