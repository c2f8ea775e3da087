"""For all tests: settings of their own, few threads, and a clean end of workers."""

import os
import tempfile

# Before napari or torch are imported: a test must not read or write the user's settings, and
# spinning threads would make timings those of the neighbours.
os.environ.setdefault("NAPARI_CONFIG", "")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("QT_API", "pyqt6")

# Journals of images without a file: never among the user's own.
os.environ["XDG_DATA_HOME"] = tempfile.mkdtemp(prefix="napari-sam-tests-")
