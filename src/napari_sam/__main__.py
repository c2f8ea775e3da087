"""``python -m napari_sam`` is the command ``napari-sam``."""

from napari_sam._cli import main

if __name__ == "__main__":
    main()
