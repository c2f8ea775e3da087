"""A folder of images: back and forward."""

from qtpy.QtWidgets import QFileDialog

from napari_sam._panels.rows import Combo, Section, button, line
from napari_sam._series import Series

NONE = ("", "the journal only")
ENDINGS = (NONE, (".tif", "TIFF labels"), (".png", "PNG labels"), (".geojson", "GeoJSON"),
           (".coco.json", "COCO"), (".zip", "ImageJ ROIs"))  # fmt: skip


class SeriesPanel(Section):
    """Open a folder; which image is open; back, next; what becomes of labels."""

    def __init__(self, series: Series) -> None:
        super().__init__("Series of images")
        self._series = series
        self.open = button(
            "Open folder ...", "All images of a folder, one after the other.", self._ask
        )
        self.files = Combo("The images of the folder.", self._on_chosen)
        self.back = button("Back", "The image before. Page Up", self._back)
        self.next = button(
            "Next", "The next image; all that was done here stays, and comes back. Page Down",
            series.step,
        )  # fmt: skip
        self.save = Combo(
            "In what labels are saved, beside the image, when another one is opened.\n"
            "The journal keeps them in any case.",
            self._on_save,
        )
        self.save.fill(ENDINGS, series.save_as)
        self.said = line(series.title)
        self.add_wide(self.open)
        self.add("Image", self.files)
        self.add_wide(self.back, self.next)
        self.add("Labels to", self.save)
        self.add_wide(self.said)
        series.changed.connect(self._show)
        self._show()

    def _ask(self) -> None:
        chosen = QFileDialog.getExistingDirectory(
            self, "Open a folder of images", str(self._series.filing.place)
        )
        if chosen:
            self._series.open_folder(chosen)

    def _back(self) -> None:
        self._series.step(-1)

    def _on_chosen(self, index: object) -> None:
        self._series.go(int(str(index)))

    def _on_save(self, ending: object) -> None:
        self._series.save_as = str(ending)

    def _show(self) -> None:
        series = self._series
        self.files.fill([(i, path.name) for i, path in enumerate(series.files)], series.index)
        self.files.setEnabled(bool(series.files))
        self.back.setEnabled(series.index > 0)
        self.next.setEnabled(0 <= series.index < len(series.files) - 1)
        self.said.setText(series.title)
        self.save.fill(ENDINGS, series.save_as)
