"""A Labels layer as a series in time; a lineage as layers of napari."""

import numpy as np
import pytest

pytest.importorskip("napari")
from napari.components import ViewerModel
from napari.layers import Labels, Tracks

from napari_sam._layers.tracks import series_of, show_lineage
from napari_sam.errors import ImageError
from napari_sam.progress import finish
from napari_sam.tracking.pipeline import track_labels
from tests.tracking.drawn import division, shuffled


@pytest.mark.parametrize("depth", [0, 5])
def test_a_layer_is_tracked_and_shown(depth: int) -> None:
    viewer = ViewerModel()
    scale = (3.0, 2.0, 0.5, 0.5) if depth else (3.0, 0.5, 0.5)
    shift = (0.0,) * (len(scale) - 2) + (10.0, 20.0)
    truth = division(depth)
    layer = viewer.add_labels(shuffled(truth, 3, first=1), scale=scale, translate=shift)
    series = series_of(layer)
    assert series.spacing == scale[1:]
    lineage = finish(track_labels(series)).accept(0.3)
    labels, tracks = show_lineage(viewer, layer, series, lineage)
    assert isinstance(labels, Labels) and isinstance(tracks, Tracks)
    assert not layer.visible and list(viewer.layers) == [layer, labels, tracks]
    for one in (labels, tracks):
        assert tuple(one.scale) == scale and tuple(one.translate) == shift
    # each point of a track lies on the object with its number
    for name, *place in tracks.data:
        index = tuple(round(at) for at in place)
        assert int(labels.data[index]) == name
    assert len(tracks.graph) == 2


def test_shown_again_the_earlier_layers_go_and_others_stay() -> None:
    viewer = ViewerModel()
    layer = viewer.add_labels(division(), name="cells")
    mine = viewer.add_labels(np.zeros((6, 40, 60), np.uint8), name="cells tracks")
    series = series_of(layer)
    proposal = finish(track_labels(series))
    show_lineage(viewer, layer, series, proposal.decide())
    labels, tracks = show_lineage(viewer, layer, series, proposal.accept(0.3))
    assert mine in viewer.layers and len(viewer.layers) == 4
    assert labels in viewer.layers and len(tracks.graph) == 2


def test_other_axes_are_refused() -> None:
    with pytest.raises(ImageError, match="2 axes"):
        series_of(Labels(np.zeros((4, 4), np.uint8)))
