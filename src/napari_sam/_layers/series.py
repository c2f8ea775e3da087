"""Opens the images of a series in the viewer, in place of the one before. Knows no Qt."""

from pathlib import Path

from napari.components import ViewerModel
from napari.errors import MultipleReaderError
from napari.layers import Image, Layer

from napari_sam._layers.binding import Binding
from napari_sam._layers.output import LayerLabels
from napari_sam._series import Series

BUILTIN = "napari"


class SeriesLayers:
    """Layers of the image of a series that is open.

    Parameters
    ----------
    viewer, binding, series
        Of the same dock.
    """

    def __init__(self, viewer: ViewerModel, binding: Binding, series: Series) -> None:
        self._viewer = viewer
        self._series = series
        self._opened: list[Layer] = []
        binding.bind_too(self._bind)
        series.open_requested.connect(self._on_open)

    def _bind(self, layer: Layer) -> None:
        layer.bind_key("PageDown", lambda _: self._series.step(), overwrite=True)
        layer.bind_key("PageUp", lambda _: self._series.step(-1), overwrite=True)

    def _on_open(self, path: Path) -> None:
        """Open the new one first: if that fails, all stays as it is."""
        before = [layer for layer in self._ours() if layer in self._viewer.layers]
        try:
            opened = self._read(path)
        except Exception as error:  # readers raise what they like
            self._series.failed(path, str(error) or type(error).__name__)
            return
        for layer in before:
            if layer in self._viewer.layers:
                self._viewer.layers.remove(layer)
        self._opened = opened
        images = [layer for layer in opened if isinstance(layer, Image)]
        if images:
            self._series.session.choose_image(str(images[-1].unique_id))
        self._viewer.reset_view()

    def _ours(self) -> list[Layer]:
        """The image before, and what was drawn on it; other layers are the user's."""
        outputs = [document.labels for document in self._series.session.documents]
        return [*self._opened, *(one.layer for one in outputs if isinstance(one, LayerLabels))]

    def _read(self, path: Path) -> list[Layer]:
        try:
            return list(self._viewer.open(str(path)))
        except MultipleReaderError:  # several plugins could, and the user prefers none
            return list(self._viewer.open(str(path), plugin=BUILTIN))
