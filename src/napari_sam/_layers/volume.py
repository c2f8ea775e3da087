"""The tab Volume and napari's layers: source of tiles, stored labels, map, paint window.

Beside the binding, which owns the image and the output layer. Knows no Qt.
"""

from collections.abc import Hashable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from napari.layers import Image, Labels, Vectors

from napari_sam._layers import output, planes
from napari_sam._layers.binding import Binding
from napari_sam._layers.paint_window import PaintWindow
from napari_sam._layers.reader import FILE
from napari_sam._layers.stored import by_hand, layer_of
from napari_sam._layers.tile_map import make_tile_map, show_tile_map, thin
from napari_sam._volume import Volume
from napari_sam._volume_source import VolumeSource
from napari_sam._volume_tasks import root_of
from napari_sam.core.regions import Region
from napari_sam.errors import NapariSamError
from napari_sam.volume.lazy_image import guess_axes


class VolumeLayers:
    """Keeps the tab and the layers of one dock in step.

    Parameters
    ----------
    viewer, binding
        Of the dock.
    volume
        State of the tab.
    """

    def __init__(self, viewer: Any, binding: Binding, volume: Volume) -> None:
        self._viewer, self._binding, self._volume = viewer, binding, volume
        self._paint = PaintWindow(viewer, binding, volume)
        binding.makers["tiles"] = make_tile_map
        binding.make_output = self._make_output
        volume.view, volume.find_source = self.view, self._find_source
        volume.map_changed.connect(self._on_map)
        volume.open_requested.connect(self._on_open)
        volume.paint_requested.connect(self._paint.open)
        session = volume.session
        session.layers_changed.connect(self._on_layers)
        session.source_changed.connect(self._on_layers)
        viewer.dims.events.point.connect(self._on_plane)
        viewer.scene.camera.events.zoom.connect(self._on_zoom)
        self._on_layers()

    def close(self) -> None:
        """Let go of the viewer."""
        self._viewer.dims.events.point.disconnect(self._on_plane)
        self._viewer.scene.camera.events.zoom.disconnect(self._on_zoom)
        self._paint.close()

    def _on_layers(self, _: object = None) -> None:
        known = self._volume.source
        if (() if known is None else known.key) != self._binding.pixels:
            self._volume.set_source(self._find_source())

    def _find_source(self) -> VolumeSource | None:
        image = self._binding.image
        return None if image is None else source_of(image, self._binding.pixels)

    def _on_plane(self, event: Any = None) -> None:
        if self._volume.tiled:
            self._volume.map = None
            self._on_map()
            self._volume.map_wanted.emit()

    def _on_map(self) -> None:
        made, image = self._volume.map, self._binding.image
        if image is None:
            return
        wanted = made is not None and self._volume.show_map and made.done.any()
        if made is not None and wanted:
            layer = self._binding.need("tiles")
            assert isinstance(layer, Vectors)
            show_tile_map(layer, made)
            self._on_zoom()
        elif (layer := self._binding.own("tiles")) is not None:
            layer.visible = False

    def _on_zoom(self, event: Any = None) -> None:
        """Frames are as thin on the screen as before."""
        layer, made, image = self._binding.own("tiles"), self._volume.map, self._binding.image
        if isinstance(layer, Vectors) and layer.visible and made is not None and image is not None:
            thin(layer, image, made, float(self._viewer.scene.camera.zoom))

    def view(self) -> Region | None:
        """What is in view of the plane, in pixels of the finest level."""
        return view_of(self._viewer, self._binding.image, self._volume.session.plane)

    def _make_output(self, image: Image) -> Labels:
        """Labels for a plane in tiles lie on disk."""
        volume = self._volume
        source = volume.source
        if not volume.tiled or source is None or len(source.axes) != image.ndim or image.rgb:
            return output.make_output(image)
        root = root_of(source.path, source.folder)
        path = by_hand(root, volume.name, source.ref(0))
        volume.set_kept_in(str(path))
        return layer_of(path, source.ref(0), image)

    def _on_open(self, path: str) -> None:
        """Show labels that a job has made."""
        image, source = self._binding.image, self._volume.source
        if image is None or source is None:
            return
        try:
            self._viewer.add_layer(layer_of(Path(path), source.ref(0), image))
        except (NapariSamError, OSError) as error:
            self._volume.session.say(f"The labels cannot be shown: {error}")


def source_of(image: Image, key: Hashable) -> VolumeSource | None:
    """Where the pixels of an image layer are; None for what is no volume of planes."""
    origin = image.metadata.get(FILE, {})
    levels = tuple(image.data) if image.multiscale else (image.data,)
    known = planes.source_of(image)
    folder = known.folder()
    if "levels" in origin:
        path = str(origin["path"])
        folder = replace(known, path=path).folder()
        return VolumeSource(
            key, levels, origin["axes"], path, tuple(origin["levels"]), origin["channel"], folder
        )
    axes = _letters(image, levels[0].shape)
    if not axes:
        return None
    return VolumeSource(key, levels, axes, None, (), None, folder, in_file=bool(known.path))


def _letters(image: Image, shape: tuple[int, ...]) -> str:
    """A letter for each axis, as the layer says or as usual."""
    named = "".join(image.axis_labels).lower()
    count = image.ndim
    if not (len(named) == count and set(named) <= set("tczyx") and {"y", "x"} <= set(named)):
        named = guess_axes(tuple(max(n, 8) for n in shape[:count]))  # no axis is taken for colours
    return named + "c" if image.rgb and named else named


def view_of(viewer: Any, image: Image | None, plane: Any) -> Region | None:
    """What the canvas shows of a plane, in its pixels; None where nothing of it is in view."""
    if image is None or plane is None:
        return None
    corners = image.corner_pixels.astype(float)
    if image.multiscale:
        factors = np.array(image.downsample_factors[image.data_level])
        corners = corners * factors
    region = []
    for axis, length in zip(plane.axes, plane.size, strict=True):
        low, high = sorted(corners[:, axis])
        first, last = max(0, int(low)), min(length, int(high) + 1)
        if first >= last:
            return None
        region.append(slice(first, last))
    return (region[0], region[1])
