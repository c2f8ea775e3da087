"""Objects in the colours of their classes, while the user wants it. Knows no Qt."""

from napari.layers import Labels
from napari.utils.colormaps import DirectLabelColormap

from napari_sam._layers.output import LayerLabels
from napari_sam._review import Review

NO_CLASS = "#808080"


class ClassColours:
    """Colours the output of a dock by class, and gives its own colours back.

    Parameters
    ----------
    review
        Of the dock.
    """

    def __init__(self, review: Review) -> None:
        self._review = review
        self._layer: Labels | None = None
        self._colours: dict[int | None, str] = {}
        self._before: object = None
        review.list_changed.connect(self._show)

    def _show(self) -> None:
        labels = self._review.session.document.labels
        layer = labels.layer if isinstance(labels, LayerLabels) and self._review.by_kind else None
        if layer is not self._layer:
            self._give_back()
            self._layer, self._before = layer, None if layer is None else layer.colormap
        if layer is None:
            return
        document = self._review.session.document
        colours: dict[int | None, str] = {None: NO_CLASS, 0: "transparent"}
        for number, one in document.objects.items():
            if one.kind:
                colours[number] = document.kinds.get(one.kind) or NO_CLASS
        if colours != self._colours:
            self._colours = colours
            layer.colormap = DirectLabelColormap(color_dict=colours)

    def _give_back(self) -> None:
        if self._layer is not None:
            self._layer.colormap = self._before
        self._colours = {}
