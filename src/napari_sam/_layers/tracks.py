"""Labels through time as layers: a Labels layer as a series, a lineage as Labels and Tracks.

Knows napari's layers; what a track is, is known by ``tracking``.
"""

from typing import Any

import dask.array as da
from napari.components import ViewerModel
from napari.layers import Labels, Layer, Tracks

from napari_sam.errors import ImageError
from napari_sam.tracking.lineage import Lineage
from napari_sam.tracking.relabel import Relabelled
from napari_sam.tracking.series import LabelSeries

__all__ = ["series_of", "show_lineage", "tracked_layer", "tracks_layer"]

_OURS = "napari-sam lineage"
_AXES = {3: "tyx", 4: "tzyx"}


def series_of(layer: Labels) -> LabelSeries:
    """The labels of a layer, with time as the first axis, and its scale as the voxel size.

    Raises
    ------
    ImageError
        It has other axes than (t, [z,] y, x).
    """
    data: Any = layer.data[0] if layer.multiscale else layer.data
    axes = _AXES.get(len(data.shape))
    if axes is None:
        raise ImageError(
            f"the layer {layer.name} has {len(data.shape)} axes; time, (z,) y and x are wanted."
        )
    spacing = tuple(abs(float(step)) for step in layer.scale[1:])
    return LabelSeries.open(data, axes=axes, spacing=spacing)


def tracked_layer(labels: Relabelled, like: Layer) -> Labels:
    """Labels by track, read frame by frame when they are shown; where ``like`` lies."""
    chunks = (1, *labels.shape[1:])
    data = da.from_array(labels, chunks=chunks, name=False, asarray=False)
    return Labels(
        data, name=f"{like.name} tracked", scale=like.scale, translate=like.translate,
        units=like.units, axis_labels=like.axis_labels,
    )  # fmt: skip


def tracks_layer(lineage: Lineage, like: Layer) -> Tracks:
    """The lineage as napari draws it; where ``like`` lies."""
    values = lineage.tracks_layer(tuple(float(step) for step in like.scale))
    values["name"] = f"{like.name} tracks"
    return Tracks(
        **values, translate=like.translate, units=like.units, axis_labels=like.axis_labels
    )


def show_lineage(
    viewer: ViewerModel, layer: Labels, series: LabelSeries, lineage: Lineage
) -> tuple[Labels, Tracks]:
    """Add labels by track and their tracks to a viewer, in place of those of an earlier call.

    Parameters
    ----------
    viewer
        Gets both layers.
    layer
        What was tracked; is hidden, and otherwise left as it is.
    series, lineage
        Of that layer.
    """
    made = tracked_layer(Relabelled(series, lineage), layer), tracks_layer(lineage, layer)
    for earlier in [one for one in viewer.layers if one.metadata.get(_OURS) == layer.name]:
        viewer.layers.remove(earlier)
    for one in made:
        one.metadata[_OURS] = layer.name
        viewer.add_layer(one)
    layer.visible = False
    return made
