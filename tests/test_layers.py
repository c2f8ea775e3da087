"""napari layers <-> values, without a display: ViewerModel, real layers, a session."""

import dask.array as da
import numpy as np
import pytest
import zarr
from app_model.types import KeyBinding
from napari.components import ViewerModel
from napari.layers import Labels

from napari_sam import _chunked_labels
from napari_sam._document import Document, Made
from napari_sam._label_edit import ArrayLabels
from napari_sam._layers import drawings, output, planes, preview, prompts
from napari_sam._layers.binding import Binding
from napari_sam._layers.review import ReviewKeys
from napari_sam._place import BoxPrompt, OutlinePrompt, PointPrompt, PromptSet, StrokePrompt
from napari_sam._predict import EmbeddingCache, MaskPatch, Plane, predict
from napari_sam._review import Review
from napari_sam._session import Session, drawing_of
from napari_sam.errors import ImageError
from napari_sam.progress import finish
from napari_sam.testing import FakePredictor

TRANSFORMS = {
    "plain": {},
    "scaled": {"scale": (2.0, 0.5, 0.25), "translate": (3.0, -4.0, 5.0)},
    "rotated": {"scale": (1.0, 2.0, 2.0), "rotate": (0, 0, 30), "translate": (0.0, 7.0, 1.0)},
    "affine": {
        "scale": (1.0, 2.0, 3.0),
        "translate": (1.0, 2.0, 3.0),
        "affine": np.array([[1, 0, 0, 5], [0, 0.8, -0.6, 1], [0, 0.6, 0.8, 2], [0, 0, 0, 1.0]]),
    },
}
BOTH = PromptSet(
    (PointPrompt((2.0, 10.0, 20.0)), PointPrompt((2.0, 11.0, 22.0), False)),
    (BoxPrompt((2.0, 5.0, 6.0), (2.0, 15.0, 16.0)),),
)


def patch_at(y, x, size=(4, 6), score=0.5):
    return MaskPatch((y, x), np.ones(size, bool), score)


class Desk:
    """A viewer model with a binding, whose requests are answered at once."""

    def __init__(self, data, *, predictor=None, **options):
        self.viewer = ViewerModel()
        self.predictor = predictor or FakePredictor(radius=4)
        self.session = Session(weights_needed=False)
        self.session.requested.connect(self._answer)
        self.cache = EmbeddingCache()
        self.image = self.viewer.add_image(data, name="image", **options)
        self.binding = Binding(self.viewer, self.session, later=lambda call: call())

    def _answer(self, request):
        job = predict(request, load=lambda _: self.predictor, cache=self.cache)
        self.session.accept(finish(job))

    def __getattr__(self, name):
        own = {
            "points": "prompts: points",
            "boxes": "prompts: boxes",
            "drawings": "prompts: drawings",
            "labels": "image labels",
        }
        return self.viewer.layers[own.get(name, name)]

    def click(self, *position, negative=False):
        self.points.feature_defaults = {"sign": "negative" if negative else "positive"}
        self.points.add(position)


# --- planes -----------------------------------------------------------------------------------


def test_the_plane_follows_the_sliders():
    viewer = ViewerModel()
    image = viewer.add_image(np.zeros((5, 40, 50)), scale=(2, 0.5, 0.5), translate=(1, 0, 0))
    viewer.dims.set_point(0, 7)  # (7 - 1) / 2
    plane = planes.current_plane(viewer, image)
    assert isinstance(plane, Plane)
    assert plane.index[0] == 3
    assert plane.axes == (1, 2)
    assert plane.size == (40, 50)


@pytest.mark.parametrize(("order", "axes"), [((1, 0, 2), (0, 2)), ((2, 0, 1), (0, 1))])
def test_xz_and_yz_planes(order, axes):
    viewer = ViewerModel()
    image = viewer.add_image(np.arange(5 * 40 * 50).reshape(5, 40, 50))
    viewer.dims.order = order
    viewer.dims.set_point(order[0], 4)
    plane = planes.current_plane(viewer, image)
    assert plane.axes == axes
    expected = np.take(image.data, 4, axis=order[0])
    assert np.array_equal(plane.read(), expected)


def test_reasons_why_there_is_no_plane():
    viewer = ViewerModel()
    image = viewer.add_image(np.zeros((5, 40, 50)), translate=(10, 0, 0))
    viewer.add_image(np.zeros((3, 40, 40, 50)))
    viewer.dims.set_point(1, 0)
    assert "not in view" in planes.current_plane(viewer, image)
    viewer.dims.order = (1, 2, 0, 3)
    assert "no such plane" in planes.current_plane(viewer, image)
    viewer.dims.ndisplay = 3
    assert "3D" in planes.current_plane(viewer, image)


def test_units_of_the_sliders_are_converted():
    viewer = ViewerModel()
    image = viewer.add_image(np.zeros((9, 40, 50)), scale=(1000, 1, 1), units=("nm", "nm", "nm"))
    viewer.add_image(np.zeros((9, 40, 50)), units=("um", "um", "um"))
    image_units = [str(unit) for unit in image.units]
    viewer.dims.set_point(0, 4 if str(viewer.dims.units[0]) == "micrometer" else 4000)
    assert image_units[0] == "nanometer"
    assert planes.current_plane(viewer, image).index[0] == 4


def test_the_key_differs_for_plane_data_and_revision():
    viewer = ViewerModel()
    image = viewer.add_image(np.zeros((5, 40, 50)))
    keys = {planes.current_plane(viewer, image).key}
    keys.add(planes.current_plane(viewer, image, 1).key)
    viewer.dims.set_point(0, 0)
    keys.add(planes.current_plane(viewer, image).key)
    image.data = np.ones((5, 40, 50))
    keys.add(planes.current_plane(viewer, image).key)
    assert len(keys) == 4


def counting_dask(shape, reads):
    def block(block_info=None):
        reads.append(block_info[None]["chunk-location"])
        return np.random.default_rng(0).integers(0, 999, block_info[None]["chunk-shape"])

    chunks = ((1,) * shape[0], (shape[1],), (shape[2],))
    return da.map_blocks(block, chunks=chunks, dtype=np.int64, meta=np.zeros((0, 0, 0), np.int64))


def test_of_lazy_data_only_the_plane_is_read():
    reads = []
    viewer = ViewerModel()
    lazy = counting_dask((50, 40, 60), reads)
    image = viewer.add_image(lazy, contrast_limits=(0, 999), cache=False)
    viewer.dims.set_point(0, 17)
    plane = planes.current_plane(viewer, image)
    reads.clear()
    assert plane.read().shape == (40, 60)
    assert reads == [(17, 0, 0)]


def test_zarr_is_read_by_plane():
    store = zarr.create_array({}, shape=(6, 20, 30), chunks=(1, 20, 30), dtype="uint16")
    store[3] = 7
    viewer = ViewerModel()
    image = viewer.add_image(store, contrast_limits=(0, 10))
    viewer.dims.set_point(0, 3)
    assert (planes.current_plane(viewer, image).read() == 7).all()


def test_of_a_pyramid_the_finest_level_is_read():
    levels = [np.full((80, 120), 1), np.full((40, 60), 2)]
    viewer = ViewerModel()
    image = viewer.add_image(levels, multiscale=True)
    plane = planes.current_plane(viewer, image)
    assert plane.size == (80, 120)
    assert (plane.read() == 1).all()


# --- prompts ----------------------------------------------------------------------------------


@pytest.mark.parametrize("transform", TRANSFORMS.values(), ids=TRANSFORMS.keys())
def test_prompts_come_back_as_they_were_written(transform):
    viewer = ViewerModel()
    image = viewer.add_image(np.zeros((5, 40, 50)), **transform)
    points, boxes = prompts.make_points(image), prompts.make_boxes(image)
    viewer.add_layer(points)
    viewer.add_layer(boxes)
    prompts.write_points(BOTH.points, image, points)
    prompts.write_boxes(BOTH.boxes, image, boxes)
    read = prompts.read_points(image, points)
    assert [p.positive for p in read] == [True, False]
    for old, new in zip(BOTH.points, read, strict=True):
        assert new.position == pytest.approx(old.position)
    (box,) = prompts.read_boxes(image, boxes)
    assert box.low == pytest.approx(BOTH.boxes[0].low)
    assert box.high == pytest.approx(BOTH.boxes[0].high)


@pytest.mark.parametrize("transform", TRANSFORMS.values(), ids=TRANSFORMS.keys())
def test_drawings_come_back_as_they_were_written(transform):
    viewer = ViewerModel()
    image = viewer.add_image(np.zeros((5, 40, 50)), **transform)
    layer = drawings.make_drawings(image)
    viewer.add_layer(layer)
    strokes = (
        StrokePrompt(((2.0, 5.0, 6.0), (2.0, 9.0, 6.5), (2.0, 20.0, 30.0)), False),
        StrokePrompt(((2.0, 1.0, 2.0), (2.0, 3.0, 4.0))),
    )
    outlines = (
        OutlinePrompt(((2.0, 5.0, 6.0), (2.0, 15.0, 7.0), (2.0, 10.0, 20.0), (2.0, 4.0, 11.0))),
        OutlinePrompt(
            ((2.0, 5.0, 6.0), (2.0, 5.0, 16.0), (2.0, 15.0, 16.0), (2.0, 15.0, 6.0)), "ellipse"
        ),
    )
    drawings.write_drawings(strokes, outlines, image, layer)
    for read, wanted in (
        (drawings.read_strokes(image, layer), strokes),
        (drawings.read_outlines(image, layer), outlines),
    ):
        for one, old in zip(read, wanted, strict=True):
            places = [getattr(each, "path", getattr(each, "corners", None)) for each in (one, old)]
            np.testing.assert_allclose(places[0], places[1], atol=1e-6)
    assert [one.positive for one in drawings.read_strokes(image, layer)] == [False, True]
    assert [one.kind for one in drawings.read_outlines(image, layer)] == ["polygon", "ellipse"]
    red, green = layer.edge_color[:2, :2]
    assert red[0] > red[1]
    assert green[0] < green[1]
    drawings.write_drawings((), (), image, layer)
    assert not drawings.read_strokes(image, layer)
    assert not drawings.read_outlines(image, layer)


def test_a_layer_that_was_moved_is_read_by_world_position():
    viewer = ViewerModel()
    image = viewer.add_image(np.zeros((5, 40, 50)))
    points = prompts.make_points(image)
    points.add((2, 10, 20))
    image.translate = (0, 5, 0)
    assert prompts.read_points(image, points)[0].position == (2, 5, 20)


def test_points_have_the_colour_of_their_sign():
    desk = Desk(np.zeros((40, 50), np.uint8))
    desk.click(10, 10)
    desk.click(12, 30, negative=True)
    colors = desk.points.face_color
    assert colors[0][1] > colors[0][0]
    assert colors[1][0] > colors[1][1]
    desk.session.undo()
    desk.click(12, 30)
    assert np.array_equal(desk.points.face_color[0], desk.points.face_color[1])


def test_an_ellipse_counts_as_its_box():
    desk = Desk(np.zeros((40, 50), np.uint8))
    desk.session.choose_tool("box")
    desk.boxes.add_ellipses([[10, 20], [5, 5]])
    (box,) = desk.session.prompts.boxes
    assert box.low == pytest.approx((5, 15))
    assert box.high == pytest.approx((15, 25))


# --- preview ----------------------------------------------------------------------------------


@pytest.mark.parametrize("transform", TRANSFORMS.values(), ids=TRANSFORMS.keys())
def test_the_preview_is_small_and_lies_on_the_object(transform):
    viewer = ViewerModel()
    image = viewer.add_image(np.zeros((5, 40, 50)), **transform)
    viewer.dims.set_point(0, image.data_to_world((3, 0, 0))[0])
    layer = preview.make_preview(image)
    viewer.add_layer(layer)
    plane = planes.current_plane(viewer, image)
    preview.show_preview(layer, image, plane=plane, patches=[patch_at(10, 20)])
    assert layer.visible
    assert layer.data.shape == (1, 4, 6)
    world = layer.data_to_world((0, 0, 0))
    assert image.world_to_data(world) == pytest.approx((3, 10, 20))
    far = layer.data_to_world((0, 3, 5))
    assert image.world_to_data(far) == pytest.approx((3, 13, 25))
    preview.show_preview(layer, image, plane=None, patches=[])
    assert not layer.visible


def test_the_preview_on_an_xz_plane():
    viewer = ViewerModel()
    image = viewer.add_image(np.zeros((15, 40, 50)))
    viewer.dims.order = (1, 0, 2)
    viewer.dims.set_point(1, 7)
    layer = preview.make_preview(image)
    plane = planes.current_plane(viewer, image)
    preview.show_preview(layer, image, plane=plane, patches=[patch_at(3, 20)])
    assert layer.data.shape == (4, 1, 6)
    assert tuple(layer.translate) == (3, 7, 20)


def test_what_the_model_sees_lies_on_the_image():
    viewer = ViewerModel()
    image = viewer.add_image(np.zeros((5, 40, 50)), **TRANSFORMS["scaled"])
    plane = planes.current_plane(viewer, image)
    layer = preview.make_picture(np.zeros((40, 50, 3), np.uint8), image, plane)
    viewer.add_layer(layer)
    assert layer.rgb
    assert layer.data.shape == (1, 40, 50, 3)
    assert tuple(layer.scale) == tuple(image.scale)
    assert image.world_to_data(layer.data_to_world((0, 0, 0))) == pytest.approx(
        (plane.index[0], 0, 0)
    )


# --- output -----------------------------------------------------------------------------------


def test_the_output_takes_the_space_of_the_image():
    viewer = ViewerModel()
    image = viewer.add_image(
        np.zeros((5, 40, 50)),
        units=("um", "um", "um"),
        axis_labels=("z", "y", "x"),
        **TRANSFORMS["rotated"],
    )
    labels = output.make_output(image)
    assert labels.data.shape == (5, 40, 50)
    assert tuple(labels.scale) == tuple(image.scale)
    assert tuple(labels.translate) == tuple(image.translate)
    assert np.allclose(labels.rotate, image.rotate)
    assert labels.units == image.units
    assert labels.axis_labels == image.axis_labels


def test_a_very_large_output_uses_no_memory(monkeypatch):
    monkeypatch.setattr(_chunked_labels, "LARGEST_IN_MEMORY", 1000)
    viewer = ViewerModel()
    image = viewer.add_image(np.zeros((5, 40, 50), np.uint8))
    labels = output.make_output(image)
    viewer.add_layer(labels)
    assert isinstance(labels.data, zarr.Array)
    plane = planes.current_plane(viewer, image)
    document = Document(output.LayerLabels(labels, highest=0))
    keep(document, plane, patch_at(3, 4))
    assert np.count_nonzero(labels.data[plane.index[0]]) == 24
    labels.undo()
    assert np.count_nonzero(labels.data[...]) == 0
    labels.redo()
    document.undo()
    assert np.count_nonzero(labels.data[...]) == 0
    document.redo()
    assert np.count_nonzero(labels.data[...]) == 24


def stack_with_labels(dtype=np.uint32, **options):
    viewer = ViewerModel()
    image = viewer.add_image(np.zeros((5, 40, 50)), **options)
    labels = viewer.add_labels(np.zeros((5, 40, 50), dtype), **options)
    viewer.dims.set_point(0, 2)
    return image, labels, planes.current_plane(viewer, image)


def keep(document, plane, *patches):
    return document.commit(
        drawing_of(plane, patches), [Made(p.score) for p in patches], axes=plane.axes
    )


def test_kept_masks_are_new_labels_and_napari_undoes_them():
    _, labels, plane = stack_with_labels()
    document = Document(output.LayerLabels(labels))
    assert keep(document, plane, patch_at(3, 4), patch_at(20, 4)) == [1, 2]
    assert (labels.data[2, 3:7, 4:10] == 1).all()
    assert (labels.data[2, 20:24, 4:10] == 2).all()
    assert np.count_nonzero(labels.data) == 48
    labels.undo()  # one step for napari, too
    assert not labels.data.any()


def test_preserve_labels_is_respected():
    _, labels, plane = stack_with_labels()
    document = Document(output.LayerLabels(labels))
    keep(document, plane, patch_at(3, 4))
    labels.preserve_labels = True
    drawing = drawing_of(plane, [patch_at(5, 4)])
    document.commit(drawing, [Made()], overwrite=True)
    assert (labels.data == 1).sum() == 24
    assert (labels.data == 2).sum() == 12


def test_labels_go_on_above_the_highest():
    _, labels, plane = stack_with_labels()
    labels.data[4, 0, 0] = 41
    assert keep(Document(output.LayerLabels(labels)), plane, patch_at(3, 4)) == [42]


def test_a_large_layer_is_scanned_only_once(monkeypatch):
    monkeypatch.setattr(output, "SCANNED_EACH_TIME", 10)
    _, labels, plane = stack_with_labels()
    labels.data[4, 0, 0] = 41
    made = output.LayerLabels(labels)
    document = Document(made)
    assert keep(document, plane, patch_at(3, 4)) == [42]
    labels.data[4, 0, 0] = 77  # unseen
    assert made.highest() == 42
    labels.data_setitem((np.array([0]), np.array([0]), np.array([0])), 50)
    assert made.highest() == 50


STROKES = {
    "brush": lambda labels: labels.paint((2, 10, 10), 5),
    "eraser": lambda labels: labels.paint((2, 5, 6), 0),
    "bucket": lambda labels: labels.fill((2, 4, 5), 7),
    "values": lambda labels: labels.data_setitem(
        (np.array([2, 2]), np.array([4, 30]), np.array([5, 30])), np.array([8, 9])
    ),
}


@pytest.mark.parametrize("lazy", [False, True], ids=["numpy", "zarr"])
@pytest.mark.parametrize("stroke", STROKES.values(), ids=STROKES.keys())
def test_strokes_are_noticed_with_what_was_there_before(stroke, lazy):
    _, labels, plane = stack_with_labels()
    if lazy:
        store = zarr.create_array({}, shape=(5, 40, 50), chunks=(1, 40, 50), dtype="uint32")
        labels = Labels(store)
        viewer = ViewerModel()
        viewer.add_layer(labels)
        viewer.dims.set_point(0, 2)
    edits = []
    made = output.LayerLabels(labels, on_stroke=edits.append)
    keep(Document(made), plane, patch_at(3, 4))
    assert not edits  # our own writing is no stroke
    before = np.array(labels.data[...])
    with labels.block_history():
        stroke(labels)
        stroke(labels)
    (edit,) = edits
    copy = ArrayLabels(before.copy())
    edit.apply(copy)
    assert np.array_equal(copy.data, labels.data[...])
    assert not np.array_equal(copy.data, before)
    edit.inverse().apply(copy)
    assert np.array_equal(copy.data, before)
    made.close()


@pytest.mark.parametrize(
    "other",
    [
        {"data": np.zeros((5, 40, 51), int)},
        {"data": np.zeros((40, 50), int)},
        {"data": np.zeros((5, 40, 50), int), "scale": (1, 2, 2)},
        {"data": np.zeros((5, 40, 50), int), "translate": (0, 1, 0)},
        {"data": da.zeros((5, 40, 50), dtype=int)},
    ],
    ids=["shape", "axes", "scale", "shift", "lazy"],
)
def test_an_output_that_does_not_fit_is_refused(other):
    image, _, _ = stack_with_labels()
    with pytest.raises(ImageError, match="choose another"):
        output.check_output(Labels(**other), image)


# --- binding: viewer and session together -----------------------------------------------------


def test_click_commit_undo_without_a_window():
    desk = Desk(np.zeros((40, 50), np.uint8))
    desk.click(20, 30)
    assert desk.preview.visible
    desk.session.commit()
    assert desk.labels.data[20, 30] == 1
    assert len(desk.points.data) == 0
    assert not desk.preview.visible
    desk.session.undo()
    assert not desk.labels.data.any()
    assert desk.points.data.tolist() == [[20, 30]]
    assert desk.preview.visible


def test_adding_moving_and_deleting_points_updates_the_preview():
    desk = Desk(np.zeros((40, 50), np.uint8))
    desk.click(20, 30)
    first = tuple(desk.preview.translate)
    desk.points.data = np.array([[10.0, 12.0]])
    assert tuple(desk.preview.translate) != first
    desk.points.selected_data = {0}
    desk.points.remove_selected()
    assert not desk.preview.visible
    desk.session.undo()
    assert desk.points.data.tolist() == [[10, 12]]


def test_several_boxes_are_several_labels():
    desk = Desk(np.zeros((40, 50), np.uint8))
    desk.session.choose_tool("box")
    desk.boxes.add_rectangles([[[2, 2], [8, 9]], [[20, 20], [30, 33]]])
    assert len(desk.session.preview) == 2
    desk.session.commit()
    assert set(np.unique(desk.labels.data)) == {0, 1, 2}
    assert desk.boxes.nshapes == 0
    assert desk.labels.data[5, 5] != desk.labels.data[25, 25]


@pytest.mark.parametrize("transform", TRANSFORMS.values(), ids=TRANSFORMS.keys())
def test_a_click_in_the_world_labels_that_pixel(transform):
    desk = Desk(np.zeros((5, 40, 50), np.uint16), **transform)
    desk.viewer.dims.set_point(0, desk.image.data_to_world((3, 0, 0))[0])
    world = desk.image.data_to_world((3, 20, 30))
    desk.click(*desk.points.world_to_data(world))
    desk.session.commit()
    assert desk.labels.data[3, 20, 30] == 1
    assert not desk.labels.data[[0, 1, 2, 4]].any()
    assert desk.labels.data[3, 16, 30] == 1  # radius 4
    assert desk.labels.data[3, 15, 30] == 0


@pytest.mark.parametrize(
    ("data", "options"),
    [
        (np.zeros((40, 50, 3), np.uint8), {"rgb": True}),
        (np.zeros((40, 50), np.uint16), {}),
        (np.random.default_rng(0).random((40, 50)).astype(np.float32), {}),
        (np.zeros((40, 50), bool), {}),
        ([np.zeros((40, 50)), np.zeros((20, 25))], {"multiscale": True}),
    ],
    ids=["rgb", "uint16", "float", "bool", "pyramid"],
)
def test_kinds_of_images(data, options):
    desk = Desk(data, **options)
    desk.click(20, 30)
    desk.session.commit()
    assert desk.labels.data.shape == (40, 50)
    assert desk.labels.data[20, 30] == 1


def test_a_plane_of_an_rgb_series():
    desk = Desk(np.zeros((4, 40, 50, 3), np.uint8), rgb=True)
    desk.viewer.dims.set_point(0, 2)
    desk.click(2, 20, 30)
    assert desk.predictor.images[-1].shape == (40, 50, 3)
    desk.session.commit()
    assert desk.labels.data[2, 20, 30] == 1


def test_a_channel_axis_is_a_slider():
    data = np.stack([np.zeros((40, 50)), np.ones((40, 50))]).astype(np.uint8)
    desk = Desk(data)
    desk.viewer.dims.set_point(0, 1)
    desk.click(1, 20, 30)
    assert (desk.predictor.images[-1] == 1).all()


def test_another_plane_hides_the_preview_and_coming_back_shows_it():
    desk = Desk(np.zeros((5, 40, 50), np.uint8))
    desk.viewer.dims.set_point(0, 2)
    desk.click(2, 20, 30)
    assert desk.session.preview
    desk.viewer.dims.set_point(0, 3)
    assert not desk.session.preview
    assert not desk.preview.visible
    assert "another plane" in desk.session.message
    desk.viewer.dims.set_point(0, 2)
    assert desk.session.preview
    assert len(desk.predictor.images) == 1


def test_a_click_on_an_xz_plane():
    desk = Desk(np.zeros((20, 40, 50), np.uint8))
    desk.viewer.dims.order = (1, 0, 2)
    desk.viewer.dims.set_point(1, 7)
    desk.click(10, 7, 30)
    desk.session.commit()
    assert desk.labels.data[10, 7, 30] == 1
    assert not desk.labels.data[:, [6, 8]].any()


def test_a_3d_view_says_what_to_do():
    desk = Desk(np.zeros((5, 40, 50), np.uint8))
    desk.viewer.dims.ndisplay = 3
    assert "2D/3D" in desk.session.message
    desk.viewer.dims.ndisplay = 2
    desk.click(desk.viewer.dims.point[0], 20, 30)
    assert desk.session.preview


def test_new_data_is_encoded_again():
    desk = Desk(np.zeros((40, 50), np.uint8))
    desk.click(20, 30)
    desk.image.data = np.ones((40, 50), np.uint8)
    assert len(desk.predictor.images) == 2
    assert (desk.predictor.images[-1] == 1).all()


def test_renaming_is_followed_and_removal_survived():
    desk = Desk(np.zeros((40, 50), np.uint8))
    desk.image.name = "nuclei"
    assert desk.session.images[0].name == "nuclei"
    desk.click(20, 30)
    desk.viewer.layers.remove("prompts: points")
    assert not desk.session.prompts
    assert not desk.session.preview
    desk.session.choose_tool("positive")
    desk.click(10, 10)
    desk.viewer.layers.remove("preview")
    desk.click(12, 12)
    assert desk.viewer.layers["preview"].visible
    desk.viewer.layers.remove("nuclei")
    assert desk.session.image is None
    assert [layer.name for layer in desk.viewer.layers] == []
    desk.viewer.add_image(np.zeros((3, 40, 50)), name="image")
    assert desk.points.ndim == 3
    desk.click(1, 10, 10)
    assert desk.session.preview


def test_the_output_may_go_between_two_commits():
    desk = Desk(np.zeros((40, 50), np.uint8))
    desk.click(20, 30)
    desk.session.commit()
    desk.viewer.layers.remove("image labels")
    assert desk.session.output is None
    assert not desk.session.document.objects
    assert not desk.session.can_undo
    desk.click(20, 30)
    desk.session.commit()
    assert desk.labels.data[20, 30] == 1


def test_strokes_on_the_output_are_steps_like_all_others():
    desk = Desk(np.zeros((40, 50), np.uint8))
    desk.click(20, 30)
    desk.session.commit()
    desk.labels.brush_size = 3
    desk.labels.paint((20, 30), 0)
    assert desk.session.document.objects[1].area < 49
    desk.labels.paint((5, 5), 9)
    assert 9 in desk.session.document.objects
    desk.session.undo()
    desk.session.undo()
    assert desk.labels.data[20, 30] == 1
    assert desk.session.document.objects[1].area == (desk.labels.data == 1).sum()
    desk.session.undo()
    assert not desk.labels.data.any()
    desk.session.redo()
    desk.session.redo()
    assert desk.labels.data[20, 30] == 0


def test_keys_on_the_output_are_ours_while_it_is_the_output():
    desk = Desk(np.zeros((40, 50), np.uint8))
    desk.click(20, 30)
    desk.session.commit()
    bound = {str(key) for key in desk.labels.keymap}
    assert bound == {"Ctrl+Z", "Ctrl+Shift+Z"}
    labels = desk.labels
    desk.binding.close()
    assert not labels.keymap
    labels.paint((5, 5), 9)
    assert not desk.session.document.objects.get(9)


def test_objects_of_a_chosen_layer_are_listed():
    desk = Desk(np.zeros((40, 50), np.uint8))
    data = np.zeros((40, 50), int)
    data[3:6, 3:6] = 4
    other = desk.viewer.add_labels(data, name="other")
    desk.session.choose_output(str(other.unique_id))
    assert desk.session.document.objects[4].area == 9
    desk.click(20, 30)
    desk.session.commit()
    assert other.data[20, 30] == 5


def test_the_selected_object_is_outlined_and_the_brush_has_its_label():
    desk = Desk(np.zeros((5, 40, 50), np.uint8))
    desk.viewer.dims.set_point(0, 2)
    desk.click(2, 20, 30)
    desk.session.commit()
    desk.click(2, 5, 5)
    desk.session.commit()
    desk.session.select([1])
    assert desk.labels.selected_label == 1
    assert desk.preview.visible
    assert desk.preview.contour == 2
    assert tuple(desk.preview.translate) == (2, 15, 25)
    desk.viewer.dims.set_point(0, 3)
    assert not desk.preview.visible
    desk.viewer.dims.set_point(0, 2)
    assert desk.preview.visible
    desk.click(2, 20, 10)
    assert desk.preview.contour == 0
    desk.session.clear()
    assert desk.preview.contour == 2
    desk.session.select([])
    assert not desk.preview.visible


def test_hovering_shows_a_mask_and_leaves_the_layers_alone():
    desk = Desk(np.zeros((40, 50), np.uint8))
    desk.session.set_hovering(True)
    desk.session.hover((20.0, 30.0))
    assert desk.preview.visible
    assert len(desk.points.data) == 0
    desk.session.hover(None)
    assert not desk.preview.visible


def test_going_to_an_object_moves_view_and_sliders():
    desk = Desk(np.zeros((5, 40, 50), np.uint8), scale=(2, 1, 1))
    review = Review(desk.session)
    ReviewKeys(desk.viewer, desk.binding, review)
    desk.viewer.dims.set_point(0, 6)
    desk.click(3, 20, 30)
    desk.session.commit()
    desk.viewer.dims.set_point(0, 0)
    desk.viewer.scene.camera.center = (0, 0)
    review.go_to(1)
    assert desk.viewer.dims.point[0] == 6
    assert tuple(desk.viewer.scene.camera.center)[-2:] == (20, 30)
    assert desk.session.selection == (1,)


def test_keys_of_the_objects_act_under_the_mouse():
    desk = Desk(np.zeros((40, 50), np.uint8))
    review = Review(desk.session)
    ReviewKeys(desk.viewer, desk.binding, review)
    for x in (10, 30):
        desk.click(20, x)
        desk.session.commit()

    def press(key):
        desk.points.keymap[KeyBinding.from_str(key)](desk.points)

    desk.viewer.cursor.position = (20, 10)
    press("S")
    assert desk.session.selection == (1,)
    desk.viewer.cursor.position = (20, 30)
    press("Shift-S")
    assert desk.session.selection == (1, 2)
    press("O")
    assert desk.session.document.draft.opened == 2
    assert desk.points.data.tolist() == [[20, 30]]
    desk.session.undo()
    press("X")
    assert set(desk.session.document.objects) == {1}
    desk.viewer.cursor.position = (0, 0)
    press("S")
    assert desk.session.selection == ()
    assert "no object" in desk.session.message
    press("N")
    assert desk.session.selection == (1,)
    press("R")
    assert desk.session.document.objects[1].reviewed
    press("M")
    assert desk.session.mode == "add"
    press("H")
    assert desk.session.hovering


def test_an_output_that_cannot_be_written_keeps_the_prompts():
    desk = Desk(np.zeros((40, 50), np.uint8))
    data = np.zeros((40, 50), int)
    data.flags.writeable = False
    other = desk.viewer.add_labels(data, name="other")
    desk.session.choose_output(str(other.unique_id))
    desk.click(20, 30)
    desk.session.commit()
    assert "read-only" in desk.session.message
    assert desk.session.prompts


def test_an_output_without_room_for_one_more_label_keeps_the_prompts():
    desk = Desk(np.zeros((40, 50), np.uint8))
    data = np.zeros((40, 50), np.uint8)
    data[0, 0] = 255
    other = desk.viewer.add_labels(data, name="other")
    desk.session.choose_output(str(other.unique_id))
    desk.click(20, 30)
    desk.session.commit()
    assert "no room for label 256" in desk.session.message
    assert "another output" in desk.session.message
    assert desk.session.prompts
    assert np.count_nonzero(other.data) == 1
    desk.session.choose_output(None)
    desk.session.commit()
    assert desk.session.message == "Kept as label 1."


def test_an_output_that_does_not_fit_keeps_the_prompts():
    desk = Desk(np.zeros((40, 50), np.uint8))
    other = desk.viewer.add_labels(np.zeros((4, 5), int), name="other")
    desk.session.choose_output(str(other.unique_id))
    desk.click(20, 30)
    desk.session.commit()
    assert "Not kept" in desk.session.message
    assert desk.session.prompts
    assert not other.data.any()


def test_our_own_layers_are_not_offered():
    desk = Desk(np.zeros((40, 50), np.uint8))
    desk.click(20, 30)
    desk.session.choose_tool("box")
    desk.binding.add_picture(np.zeros((40, 50, 3), np.uint8), desk.session.plane)
    assert [ref.name for ref in desk.session.images] == ["image"]
    assert desk.session.outputs == ()
    assert desk.viewer.layers[-1].name == "prompts: points"


def test_the_dock_closed_leaves_labels_only():
    desk = Desk(np.zeros((40, 50), np.uint8))
    desk.click(20, 30)
    desk.session.commit()
    desk.binding.close()
    assert [layer.name for layer in desk.viewer.layers] == ["image", "image labels"]
    desk.viewer.layers.remove("image")
    desk.viewer.add_image(np.zeros((40, 50)))
    assert len(desk.viewer.layers) == 2


def test_another_array_of_the_same_shape_is_a_step_like_a_stroke():
    desk = Desk(np.zeros((40, 50), np.uint8))
    desk.session.has_output()
    new = desk.labels.data.copy()
    new[3:6, 3:6] = 4
    desk.labels.data = new
    assert desk.session.document.objects[4].area == 9
    desk.session.undo()
    assert not desk.labels.data.any()
    desk.session.redo()
    assert (desk.labels.data == 4).sum() == 9


def test_an_array_of_another_shape_is_another_output():
    desk = Desk(np.zeros((40, 50), np.uint8))
    desk.session.has_output()
    output_layer = desk.labels
    output_layer.data = np.ones((7, 7), np.uint8)
    assert desk.session.document.labels is None
    assert "does not have the pixels" in desk.session.message
    assert not desk.session.has_output()
    output_layer.data = np.full((40, 50), 5, np.uint8)
    assert desk.session.has_output()
    assert list(desk.session.document.objects) == [5]


def test_a_transposed_view_is_the_same_image():
    desk = Desk(np.zeros((40, 50), np.uint8))
    desk.viewer.dims.transpose()
    assert desk.session.plane.axes == (0, 1)
    desk.click(10, 30)
    desk.session.commit()
    assert desk.labels.data[10, 30] == 1


def test_many_pixels_are_written_past_naparis_history():
    labels = Labels(np.zeros((600, 700), np.uint32))
    taken = output.LayerLabels(labels)
    everything = (slice(0, 600), slice(0, 700))
    taken.write(everything, np.full((600, 700), 8, np.uint32))
    assert (labels.data == 8).all()
    assert taken.highest() == 8
    taken.write(everything, np.full((600, 700), 8, np.uint32))  # nothing to do
    assert not labels._undo_history


# --- channels, drawings -----------------------------------------------------------------------


def test_layers_are_mixed_for_the_model_and_forgotten_when_they_go():
    desk = Desk(np.full((40, 50), 10, np.uint8))
    red = desk.viewer.add_image(np.full((40, 50), 20, np.uint8), name="red")
    desk.viewer.add_image(np.zeros((9, 9)), name="other size")
    session = desk.session
    session.choose_image(str(desk.image.unique_id))
    assert session.channel_options == ((str(red.unique_id), "With red"),)
    desk.click(20, 30)
    session.choose_channels(str(red.unique_id))
    assert desk.predictor.images[-1].shape == (40, 50, 2)
    assert desk.predictor.images[-1][0, 0].tolist() == [10, 20]
    session.commit()
    (step,) = [one for one in session.document.history if one.name == "commit"]
    assert step.details["channels"] == str(red.unique_id)
    desk.viewer.layers.remove(red)
    assert session.channels is None
    assert session.plane.read().shape == (40, 50)


@pytest.mark.parametrize(("axis", "order"), [(0, (0, 1, 2)), (2, (2, 0, 1))])
def test_all_channels_along_an_axis_are_seen_at_once(axis, order):
    data = np.moveaxis(np.arange(3 * 40 * 50, dtype=np.uint16).reshape(3, 40, 50), 0, axis)
    desk = Desk(data, rgb=False)
    desk.viewer.dims.order = order
    desk.viewer.dims.set_point(axis, 1)
    session = desk.session
    assert (f"axis {axis}", f"All 3 along axis {axis}") in session.channel_options
    session.choose_channels(f"axis {axis}")
    assert np.array_equal(session.plane.read(), np.moveaxis(data, axis, -1))
    position = [20.0, 30.0]
    position.insert(axis, 1.0)
    desk.click(*position)
    assert desk.predictor.images[-1].shape == (40, 50, 3)
    session.commit()
    where = [20, 30]
    where.insert(axis, 1)
    assert desk.labels.data[tuple(where)] == 1  # of the channel in view alone
    where[axis] = 0
    assert desk.labels.data[tuple(where)] == 0


def test_drawings_follow_undo_and_their_sign_flips_with_a_key():
    desk = Desk(np.zeros((40, 50), np.uint8))
    desk.session.choose_tool("scribble")
    layer = desk.drawings
    assert layer.mode == "add_path"
    layer.add(np.array([(20, 10), (20, 30)]), shape_type="path")
    assert [one.positive for one in desk.session.prompts.strokes] == [True]
    desk.session.choose_tool("negative scribble")
    layer.add(np.array([(30, 10), (30, 30)]), shape_type="path")
    assert [one.positive for one in desk.session.prompts.strokes] == [True, False]
    assert not np.array_equal(layer.edge_color[0], layer.edge_color[1])
    desk.session.undo()
    assert layer.nshapes == 1
    desk.session.redo()
    assert list(layer.features["sign"]) == ["positive", "negative"]
    layer.selected_data = {0}
    layer.remove_selected()
    assert [one.positive for one in desk.session.prompts.strokes] == [False]
    desk.session.clear()
    assert layer.nshapes == 0


def test_prompts_on_other_planes_of_a_stack_are_kept_and_named():
    desk = Desk(np.zeros((20, 24, 30), np.uint8))
    desk.viewer.dims.order = (1, 0, 2)
    desk.viewer.dims.set_point(1, 5)
    desk.session.choose_tool("scribble")
    desk.drawings.add(np.array([(4, 5, 6), (4, 5, 20)]), shape_type="path")
    assert desk.session.response is not None
    desk.viewer.dims.set_point(1, 9)
    assert desk.session.response is None
    assert "on another plane: ignored" in desk.session.message
    desk.viewer.dims.set_point(1, 5)
    assert desk.session.response is not None
    assert desk.session.prompts.strokes
