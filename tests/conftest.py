"""For all tests: settings of their own, few threads, and a quick collector of garbage."""

import gc
import os
import tempfile

import pytest

# Before napari or torch are imported: a test must not read or write the user's settings, and
# spinning threads would make timings those of the neighbours.
os.environ.setdefault("NAPARI_CONFIG", "")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("QT_API", "pyqt6")

# Journals of images without a file: never among the user's own.
os.environ["XDG_DATA_HOME"] = tempfile.mkdtemp(prefix="napari-sam-tests-")


@pytest.fixture(scope="module", autouse=True)
def _settled() -> None:
    """What is there before a file's first test will stay: the collector need not look at it again.

    napari collects all garbage at each layer that goes and each window that closes, and would look
    at the half a million objects of torch, napari and Qt each time.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture
def open_window(make_napari_viewer, qtbot):  # type: ignore[no-untyped-def]
    """Opens viewers with the dock in them; see :class:`tests.viewer_window.Window`."""
    from tests.viewer_window import opener

    yield from opener(make_napari_viewer, qtbot)
