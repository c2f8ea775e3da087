"""``python -m napari_sam.training`` and ``torchrun -m napari_sam.training``: one run."""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # before torch: see core/threads.py

import sys

from napari_sam.errors import NapariSamError

if __name__ == "__main__":
    from napari_sam.training.commands import train

    try:
        train(sys.argv[1:], prog="python -m napari_sam.training")
    except NapariSamError as error:
        sys.exit(f"napari-sam: {error}")
