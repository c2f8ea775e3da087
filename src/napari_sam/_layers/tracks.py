"""Tracks and napari's layers: which labels are a film, new labels and a Tracks layer."""

from functools import partial
from typing import TYPE_CHECKING, Any

from napari_sam._layers.binding import Binding
from napari_sam._layers.output import LayerLabels
from napari_sam._layers.volume import source_of
from napari_sam._tracks import Film, MadeTracks, Tracks

if TYPE_CHECKING:
    from napari_sam.tracking.series import LabelSeries


class TrackLayers:
    """Gives the tab the labels of a dock, and shows what was made of them.

    Parameters
    ----------
    viewer, binding, tracks
        Of the same dock.
    """

    def __init__(self, viewer: Any, binding: Binding, tracks: Tracks) -> None:
        self._viewer, self._binding = viewer, binding
        tracks.find_film = self._find_film
        tracks.layers_requested.connect(self._on_layers)
        tracks.jump_requested.connect(self._on_jump)

    def _letters(self) -> str:
        image = self._binding.image
        source = None if image is None else source_of(image, self._binding.pixels)
        return "" if image is None or source is None else source.axes[: image.ndim]

    def _find_film(self) -> Film | str:
        """The labels that are drawn on, if they have frames."""
        output, letters = self._binding.output_labels(), self._letters()
        if output is None:
            return "There are no labels yet: keep an object, or choose an output."
        if "t" not in letters:
            return (
                "The image has no axis t. Name its axes: layer list, right click, or"
                " axis_labels=('t', 'y', 'x')."
            )
        layer = output.layer
        data = layer.data if isinstance(output, LayerLabels) else output.image.arrays[0]
        known = dict(zip(letters, map(float, layer.scale), strict=True))
        axes = "tzyx" if "z" in letters else "tyx"
        scale = tuple(abs(known[axis]) for axis in axes)
        return Film(partial(_open, data, letters, scale[1:]), scale, layer.name)

    def _on_layers(self, made: MadeTracks) -> None:
        name, scale = made.film.name, made.film.scale
        self._viewer.add_labels(made.labels, name=f"{name}: tracks", scale=scale)
        options = made.lineage.tracks_layer(scale)
        self._viewer.add_tracks(**options | {"name": f"{name}: lines"})

    def _on_jump(self, frame: int) -> None:
        image, letters = self._binding.image, self._letters()
        if image is None or "t" not in letters:
            return
        place = [0.0] * image.ndim
        axis = letters.index("t")
        place[axis] = float(frame)
        world = image.data_to_world(place)
        self._viewer.dims.set_point(axis + self._viewer.dims.ndim - image.ndim, float(world[axis]))


def _open(data: Any, letters: str, spacing: tuple[float, ...]) -> "LabelSeries":
    from napari_sam.tracking.series import LabelSeries

    return LabelSeries.open(data, axes=letters, spacing=spacing)
