"""The tab Volume without a window around it: planes in tiles, labels on disk, jobs."""

import functools
import gc
import threading
from pathlib import Path

import numpy as np
import pytest
import zarr
from napari.components import ViewerModel
from napari.layers import Labels, Vectors
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QWidget

from napari_sam._layers.lazy_pixels import LazyPixels
from napari_sam._layers.reader import get_reader, label_tuple, read_layers
from napari_sam._layers.stored import StoredLabels
from napari_sam._predict import ModelChoice
from napari_sam._volume_source import TileSettings
from napari_sam._widget import SegmentAnything
from napari_sam.volume.image import ImageRef
from napari_sam.volume.intensity import VolumeIntensity
from napari_sam.volume.ome import LabelImage
from napari_sam.volume.store import TileStore
from napari_sam.volume.work import SegmentWork
from tests.volume.fakes import Greys, cells
from tests.volume.images import write_ome_zarr

LONG_MS = 120000
SIDE, HALO = 64, 16
PACK = Path(__file__).parents[2] / "shared" / "packs" / "dev"


class Counting(Greys):
    """Remembers what it has looked at, and can be made to wait."""

    def __init__(self) -> None:
        super().__init__("tiny")
        object.__setattr__(self, "seen", [])
        object.__setattr__(self, "gate", threading.Event())
        self.gate.set()

    def encode(self, image: np.ndarray, *, intensity: str = "percentile"):
        self.seen.append(image.shape[:2])
        import torch

        while not self.gate.wait(0.001):
            torch.add(torch.ones(2), 1)
        return super().encode(image, intensity=intensity)


@functools.cache
def drawn(shape, count):
    return cells(shape, count=count)


@pytest.fixture
def stack(tmp_path, monkeypatch):
    monkeypatch.setattr("napari_sam.volume.ome.COARSEST", 100)  # labels have a pyramid, too
    data, truth = drawn((3, 230, 200), 26)
    return write_ome_zarr(tmp_path / "image.zarr", data, "zyx", levels=3), data, truth


@pytest.fixture
def open_dock(qtbot, monkeypatch):
    monkeypatch.setattr("napari_sam._widget.show_error", lambda text: None)
    opened = []

    def make(path=None, *, data=None, model=None, settings=True):
        viewer = ViewerModel()
        viewer.dims.ndisplay = 2
        if path is not None:
            for values, options, kind in read_layers(str(path)):
                getattr(viewer, f"add_{kind}")(values, **options)
        else:
            viewer.add_image(data, name="image")
        model = model or Counting()
        dock = SegmentAnything(viewer, load=lambda _: model)
        dock.viewer, dock.model = viewer, model
        qtbot.addWidget(dock)
        opened.append(dock)
        qtbot.waitUntil(lambda: "preview" in viewer.layers)
        if settings:
            dock.session.choose_intensity("as_is")
            dock.volume.change(when="always", side=SIDE, halo=HALO, ahead=False)
            dock.everything.change(points_per_side=16, pred_iou_thresh=0.5)
        return dock

    yield make
    for dock in opened:
        dock.shut()
    qtbot.waitUntil(lambda: not any(j.running for d in opened for j in d._jobs), timeout=LONG_MS)
    opened.clear()
    gc.collect()


def click(qtbot, dock, z, y, x):
    """A point on a pixel, and its mask."""
    image, session = dock._binding.image, dock.session
    dock.viewer.dims.set_point(0, float(image.data_to_world((z, y, x))[0]))
    dock.viewer.layers["prompts: points"].add((z, y, x))
    qtbot.waitUntil(
        lambda: session.response is not None and not session.busy
        and session.response.generation == session.generation,
        timeout=LONG_MS,
    )  # fmt: skip


def deepest(truth, z, label):
    from scipy.ndimage import distance_transform_edt

    depth = distance_transform_edt(truth[z] == label)
    return tuple(int(n) for n in np.unravel_index(depth.argmax(), depth.shape))


def largest(truth, z):
    return int(np.bincount(truth[z][truth[z] > 0]).argmax())


def run(qtbot, dock, task, scope, *, most_ms=LONG_MS):
    dock.volume.run(task, scope)
    assert dock.volume.busy
    qtbot.waitUntil(lambda: not dock.volume.busy, timeout=most_ms)


def test_a_click_looks_at_its_tile_and_the_object_goes_to_the_disk(qtbot, open_dock, stack):
    path, _, truth = stack
    dock = open_dock(path)
    label = largest(truth, 2)
    y, x = deepest(truth, 2, label)
    click(qtbot, dock, 2, y, x)
    assert max(max(size) for size in dock.model.seen) <= SIDE + 2 * HALO
    dock.session.commit()
    written = zarr.open_group(path / "labels" / "cells", mode="r")
    assert (np.asarray(written["0"][2]) > 0).tolist() == (truth[2] == label).tolist()
    assert (written["1"][2] == written["0"][2, ::2, ::2]).all()
    layer = dock.viewer.layers["cells"]
    assert layer.multiscale
    assert (np.asarray(layer.data[0][2]) == np.asarray(written["0"][2])).all()
    dock.session.undo()
    assert not np.asarray(written["0"][:]).any() and not np.asarray(written["1"][:]).any()
    dock.session.redo()
    assert np.asarray(written["0"][2]).any()


def test_small_images_are_seen_whole_as_ever(qtbot, open_dock):
    data, truth = drawn((2, 200, 180), 10)
    dock = open_dock(data=data, settings=False)
    assert not dock.volume.tiled
    click(qtbot, dock, 0, *deepest(truth, 0, largest(truth, 0)))
    assert dock.model.seen == [(200, 180)]


def test_large_planes_work_in_tiles_without_being_asked():
    settings = TileSettings()

    class Source:
        size = (5000, 300)

    assert settings.wanted(Source())
    Source.size = (4096, 4096)
    assert not settings.wanted(Source())
    assert settings.cut("vit_b") == settings.cut("tiny") == (768, 128)


def test_the_next_day_nothing_is_looked_at_again_and_the_labels_are_gone_on_with(
    qtbot, open_dock, stack
):
    path, _, truth = stack
    first = open_dock(path)
    labels = [n for n in np.unique(truth[2]) if n][:2]
    click(qtbot, first, 2, *deepest(truth, 2, labels[0]))
    first.session.commit()
    first.shut()
    dock = open_dock(path)
    click(qtbot, dock, 2, *deepest(truth, 2, labels[0]))
    seen_before = list(dock.model.seen)
    assert len(seen_before) < len(first.model.seen)
    click_at = deepest(truth, 2, labels[1])
    dock.session.clear()
    click(qtbot, dock, 2, *click_at)
    dock.session.commit()
    written = np.asarray(zarr.open_group(path / "labels" / "cells", mode="r")["0"][2])
    for number, label in enumerate(labels, start=1):
        assert (written[truth[2] == label] == number).all()


def test_the_window_lives_while_tiles_are_read_looked_at_and_stitched(
    qtbot, open_dock, stack, monkeypatch
):
    """Its timer beats on while the model takes forever, and it never reads or makes a tile."""
    in_the_window = []

    def watch(place, name):
        real = getattr(place, name)

        def watched(*given, **more):
            if threading.current_thread() is threading.main_thread():
                in_the_window.append(f"{place.__name__}.{name}")
            return real(*given, **more)

        monkeypatch.setattr(place, name, watched)

    for place, name in (
        (ImageRef, "read"), (TileStore, "read"), (TileStore, "write"), (TileStore, "create"),
        (SegmentWork, "__call__"), (VolumeIntensity, "measure"),
    ):  # fmt: skip
        watch(place, name)
    path, _, truth = stack
    dock = open_dock(path)
    beats = []
    timer = QTimer()
    timer.timeout.connect(lambda: beats.append(dock.session.busy or dock.volume.busy))
    timer.start(5)

    def alive():
        del beats[:]
        qtbot.waitUntil(lambda: len(beats) >= 20, timeout=LONG_MS)
        dock.model.gate.set()
        return all(beats)

    dock.model.gate.clear()
    y, x = deepest(truth, 1, largest(truth, 1))
    dock.viewer.dims.set_point(0, 2.0)
    dock.viewer.layers["prompts: points"].add((1, y, x))
    qtbot.waitUntil(lambda: dock.session.busy, timeout=LONG_MS)
    assert alive()
    qtbot.waitUntil(lambda: not dock.session.busy, timeout=LONG_MS)
    dock.session.commit()
    dock.model.gate.clear()
    dock.volume.run("segment", "volume")
    assert alive()
    qtbot.waitUntil(lambda: not dock.volume.busy, timeout=LONG_MS)
    timer.stop()
    assert "objects in" in dock.session.message and in_the_window == []


def test_neighbours_are_looked_at_ahead_and_a_click_stops_that_at_once(qtbot, open_dock, stack):
    path, _, truth = stack
    dock = open_dock(path)
    dock.volume.change(ahead=True)
    click(qtbot, dock, 1, *deepest(truth, 1, largest(truth, 1)))
    qtbot.waitUntil(lambda: dock.volume_jobs.ahead.running, timeout=LONG_MS)
    dock.model.gate.clear()  # from here each look takes forever, unless it is given up
    qtbot.wait(50)
    dock.viewer.layers["prompts: points"].selected_data = {0}
    dock.session.clear()
    dock.viewer.layers["prompts: points"].add((1, *deepest(truth, 1, largest(truth, 1))))
    session = dock.session
    qtbot.waitUntil(lambda: session.response is not None and not session.busy, timeout=LONG_MS)
    dock.volume.change(ahead=False)
    dock.volume_jobs.close()
    dock.model.gate.set()


def test_precomputing_gives_way_goes_on_and_is_shown(qtbot, open_dock, stack):
    path, _, truth = stack
    dock = open_dock(path)
    run(qtbot, dock, "look", "plane")
    store = TileStore.open(path.with_name("image.zarr.napari-sam") / "embeddings-tiny")
    grid = store.manifest.grid
    assert store.done().sum() == grid.cells[0] * grid.cells[1]
    qtbot.waitUntil(lambda: dock.volume.map is not None and dock.volume.map.done.all(),
                    timeout=LONG_MS)  # fmt: skip
    frames = dock.viewer.layers["tiles looked at"]
    assert isinstance(frames, Vectors) and len(frames.data) == 4 * dock.volume.map.done.size
    seen = len(dock.model.seen)
    click(qtbot, dock, 0, *deepest(truth, 0, largest(truth, 0)))
    looks = len(dock.model.seen) - seen
    assert looks <= 3  # only crops around an object that crosses tiles
    dock.volume.set_show_map(False)
    assert not frames.visible


def test_what_is_in_view_is_segmented_as_one_step(qtbot, open_dock, stack):
    path, _, truth = stack
    dock = open_dock(path)
    region = (slice(0, 150), slice(0, 130))
    dock.volume.view = lambda: region
    dock.viewer.dims.set_point(0, 2.0)  # plane 1: steps are 2 micrometers
    run(qtbot, dock, "segment", "view")
    written = zarr.open_group(path / "labels" / "cells", mode="r")["0"]
    found = np.asarray(written[1])
    expected = truth[1][region]
    edge = np.unique(np.r_[expected[-1], expected[:, -1]])
    inside = ~np.isin(expected, edge)
    assert ((found[region] > 0) == (expected > 0))[inside].all() and (expected > 0)[inside].any()
    assert not np.asarray(written[0]).any() and not found[150:].any()
    dock.session.undo()
    assert not np.asarray(written[1]).any()
    done = TileStore.open(path.with_name("image.zarr.napari-sam") / "tiles-cells").done()
    run(qtbot, dock, "segment", "view")  # nothing is made again
    assert np.asarray(written[1]).any()
    after = TileStore.open(path.with_name("image.zarr.napari-sam") / "tiles-cells").done()
    assert (done == after).all() and 0 < done.sum() < len(done)


def test_a_volume_is_segmented_stopped_gone_on_with_and_opened(qtbot, open_dock, stack):
    path, _, truth = stack
    dock = open_dock(path)
    dock.volume.run("segment", "volume")
    qtbot.waitUntil(
        lambda: dock.volume.progress is not None and dock.volume.progress.done > 3, timeout=LONG_MS
    )
    dock.volume.cancel()
    qtbot.waitUntil(lambda: not dock.volume.busy, timeout=LONG_MS)
    assert "goes on" in dock.session.message
    run(qtbot, dock, "segment", "volume")
    assert "cells" in dock.viewer.layers and "objects in" in dock.session.message
    found = np.asarray(zarr.open_group(path / "labels" / "cells", mode="r")["0"][:])
    assert ((found > 0) == (truth > 0)).all()
    run(qtbot, dock, "segment", "volume")  # complete: opened again, not made again
    dock.everything.change(least_area=30)
    run(qtbot, dock, "segment", "volume")  # other settings: the labels that are there stay
    assert (path / "labels" / "cells-2").exists()


def test_strokes_in_the_paint_window_go_to_the_disk_and_can_be_undone(qtbot, open_dock, stack):
    path, _, truth = stack
    dock = open_dock(path)
    dock.volume.paint()
    assert "Keep an object first" in dock.session.message
    y, x = deepest(truth, 2, largest(truth, 2))
    click(qtbot, dock, 2, y, x)
    dock.session.commit()
    dock.volume.view = lambda: (slice(20, 220), slice(10, 190))
    dock.volume.paint()
    window = dock.viewer.layers["paint here"]
    assert window.data.shape == (1, 200, 180)
    place = np.array(dock._binding.image.world_to_data(window.data_to_world((0, 0, 0))))
    assert place.round().tolist() == [2, 20, 10]
    written = zarr.open_group(path / "labels" / "cells", mode="r")
    before = np.asarray(written["0"][:])
    window.brush_size = 5
    window.paint((0, 100, 100), 7)
    assert written["0"][2, 120, 110] == 7 and written["1"][2, 60, 55] == 7
    assert (np.asarray(written["0"][:]) != before).sum() == (window.data == 7).sum()
    dock.session.undo()
    assert (np.asarray(written["0"][:]) == before).all() and not (window.data == 7).any()
    dock.session.undo()  # the object that was kept, which is in the window, too
    assert not window.data.any()
    labels = dock._binding.output_labels()
    assert isinstance(labels, StoredLabels) and labels.highest() == 7


def test_an_image_without_a_file_has_labels_among_the_users_data(qtbot, open_dock):
    data, truth = drawn((2, 200, 180), 10)
    dock = open_dock(data=data)
    click(qtbot, dock, 0, *deepest(truth, 0, largest(truth, 0)))
    dock.session.commit()
    folder = dock.volume.source.folder / "labels.zarr" / "labels" / "cells"
    assert folder.exists() and str(folder) in dock.volume_panel.kept_in.text()


def test_everything_says_where_planes_in_tiles_are_segmented(qtbot, open_dock, stack):
    dock = open_dock(stack[0])
    dock.everything.run()
    assert "tab Volume" in dock.session.message and not dock.sweeps.running


def test_the_panel_shows_what_is_set_and_counts(qtbot, open_dock, stack):
    dock = open_dock(stack[0])
    panel = dock.volume_panel
    assert isinstance(panel, QWidget)
    assert panel.level.count() == 3 and "230 x 200" in panel.level.itemText(0)
    assert panel.side.value() == SIDE and f"{SIDE} px" in panel.about.text()
    panel.side.setValue(0)
    assert dock.volume.settings.side is None and panel.side.text() == "auto"
    panel.when.activated.emit(2)
    assert not dock.volume.tiled and "whole plane" in panel.about.text()
    panel.name.setText("nuclei")
    panel.name.editingFinished.emit()
    assert dock.volume.name == "nuclei"


def test_a_coarse_level_is_asked_and_answers_at_the_finest(qtbot, open_dock, stack):
    path, _, truth = stack
    dock = open_dock(path)
    dock.volume.change(level=1)
    label = largest(truth, 2)
    click(qtbot, dock, 2, *deepest(truth, 2, label))
    patch = dock.session.preview[0]
    mask = np.zeros(truth.shape[1:], bool)
    (y, x), (h, w) = patch.offset, patch.mask.shape
    mask[y : y + h, x : x + w] = patch.mask
    both = (mask & (truth[2] == label)).sum() / (mask | (truth[2] == label)).sum()
    assert both > 0.8


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_an_ome_zarr_opens_with_all_levels_channels_and_labels(tmp_path, version):
    data = np.random.default_rng(0).integers(0, 999, (2, 3, 90, 80)).astype(np.uint16)
    path = write_ome_zarr(tmp_path / "i.zarr", data, "czyx", version=version, levels=2)
    first, second = read_layers(str(path))
    assert [array.shape for array in second[0]] == [(3, 90, 80), (3, 45, 40)]
    assert (np.asarray(second[0][0]) == data[1]).all()
    assert first[1]["scale"] == [2.0, 0.5, 0.5] and first[1]["units"] == ["micrometer"] * 3
    assert get_reader(str(path)) is read_layers and get_reader(str(tmp_path)) is None
    assert get_reader([str(path)]) is None


class CountingArray:
    """A zarr array that knows how many pixels were read of it."""

    def __init__(self, array):
        self.array, self.read = array, 0
        self.shape, self.dtype, self.chunks = array.shape, array.dtype, array.chunks

    def __getitem__(self, key):
        values = np.asarray(self.array[key])
        self.read += values.size
        return values


THIRD = slice(None, None, 3)
KEYS = (3, (2, slice(1, 9)), (..., 4), (1, ..., THIRD), (slice(-2, None),), ..., (2, 1))


@pytest.mark.parametrize("key", KEYS)
def test_pixels_on_disk_are_sliced_like_any_array(key):
    data = np.arange(4 * 2 * 20 * 30, dtype=np.uint16).reshape(4, 2, 20, 30)
    stored = zarr.create_array({}, data=data, chunks=(1, 1, 16, 16))
    one = LazyPixels(stored, axis=1, channel=1, dtype=np.uint32)
    assert one.shape == (4, 20, 30) and one.chunks == (1, 16, 16) and one.size == 2400
    assert (one.ndim, len(one), one.dtype) == (3, 4, np.uint32)
    found = one[key]
    assert found.dtype == np.uint32 and np.array_equal(found, data[:, 1][key])
    assert np.array_equal(LazyPixels(stored)[key], data[key])
    assert np.array_equal(np.asarray(one), data[:, 1])


def test_a_step_through_a_stack_reads_the_plane_in_view_alone():
    arrays = [
        CountingArray(zarr.create_array({}, data=np.ones((30, 256 >> n, 256 >> n), np.uint16),
                                        chunks=(1, 64, 64)))
        for n in range(3)
    ]  # fmt: skip
    viewer = ViewerModel()
    viewer.add_image([LazyPixels(array) for array in arrays], contrast_limits=(0, 9))
    labels = [CountingArray(array.array) for array in arrays]
    viewer.add_labels([LazyPixels(array) for array in labels], multiscale=True)
    for array in [*arrays, *labels]:
        array.read = 0
    viewer.dims.set_point(0, 17)
    for levels in (arrays, labels):
        assert 0 < sum(array.read for array in levels) <= 2 * 256 * 256


@pytest.mark.packs
@pytest.mark.skipif(not PACK.exists(), reason="the packs are not beside the repository")
@pytest.mark.parametrize("name", ["cardiomyocyte_B03_v04.zarr", "ovule_v05.zarr"])
def test_stores_of_the_pack_go_through_napari_and_back(qtbot, open_dock, tmp_path, name):
    import shutil

    from yaozarrs import validate_zarr_store

    path = shutil.copytree(PACK / name, tmp_path / name)
    dock = open_dock(path, model=Counting())
    image = dock._binding.image
    before = [layer.name for layer in dock.viewer.layers]
    shape = (image.data[0] if image.multiscale else image.data).shape
    dock.session.choose_intensity("percentile")
    z, y, x = shape[0] // 2, shape[1] // 2, shape[2] // 2
    click(qtbot, dock, z, y, x)
    dock.session.commit()
    label = Path(dock.volume.kept_in)
    assert label.parent == path / "labels" and (name[:5] == "ovule") == (label.name == "cells-2")
    validate_zarr_store(str(path))
    validate_zarr_store(str(label))
    found = np.asarray(LabelImage(label).arrays[0][z])
    assert found[y, x] == 1
    again = open_dock(path)
    assert {label.name, *before} - {"preview"} <= {layer.name for layer in again.viewer.layers}
    assert again.viewer.layers[label.name].scale == pytest.approx(image.scale)


@pytest.mark.packs
@pytest.mark.skipif(not PACK.exists(), reason="the packs are not beside the repository")
@pytest.mark.parametrize(
    ("name", "version"), [("cardiomyocyte_B03_v04.zarr", "0.4"), ("ovule_v05.zarr", "0.5")]
)
def test_what_the_bundled_model_finds_in_stores_of_the_pack_comes_back(
    qtbot, open_dock, tmp_path, name, version
):
    """Opened in napari, a plane segmented by the real model, written, validated, opened again."""
    import shutil

    from napari_sam import load_predictor
    from tests.volume.test_pipelines import check_with_ome_zarr_models

    path = shutil.copytree(PACK / name, tmp_path / name)
    dock = open_dock(path, model=load_predictor())
    image = dock._binding.image
    before = {layer.name: np.asarray(first(layer)) for layer in dock.viewer.layers[:2]}
    dock.session.choose_intensity("percentile")
    dock.volume.change(level=len(image.data) - 1 if image.multiscale else 0, side=512, halo=32)
    dock.everything.change(points_per_side=8, pred_iou_thresh=0.3, stability_score_thresh=0.1)
    depth = first(image).shape[0]
    dock.viewer.dims.set_point(0, float(image.data_to_world((depth // 2, 0, 0))[0]))
    run(qtbot, dock, "segment", "plane", most_ms=5 * LONG_MS)
    qtbot.waitUntil(lambda: bool(dock.session.document.objects), timeout=LONG_MS)
    qtbot.waitUntil(lambda: not dock.keeps.running, timeout=LONG_MS)
    label = Path(dock.volume.kept_in)
    written = np.asarray(LabelImage(label).arrays[0][:])
    assert len(np.unique(written)) == 1 + len(dock.session.document.objects)
    assert written[depth // 2].any() and written.shape == first(image).shape
    check_with_ome_zarr_models(label, version)
    again = open_dock(path).viewer.layers
    assert (np.asarray(first(again[label.name])) == written).all()
    assert again[label.name].scale == pytest.approx(image.scale)
    for known, pixels in before.items():
        assert (np.asarray(first(again[known])) == pixels).all()


def first(layer):
    """Pixels of a layer's finest level."""
    return layer.data[0] if layer.multiscale else layer.data


def test_models_are_told_apart_by_their_weights():
    from napari_sam._predict import predictors
    from napari_sam._volume_source import LoadedModel

    assert LoadedModel(ModelChoice(), predictors).identity() == ModelChoice().identity()


def test_a_crash_in_a_large_volume_is_restored_without_its_size_in_memory(monkeypatch):
    import napari_sam._chunked_labels as chunked

    labels = chunked.empty_labels((20, 40_000, 40_000))
    region = (slice(3, 4), slice(39_990, 40_000), slice(10, 20))
    labels.write(region, np.full((1, 10, 10), 5, np.uint32))
    assert labels.highest() == 5 and (labels.read(region) == 5).all()
    assert labels.shape == (20, 40_000, 40_000) and labels.largest == 2**32 - 1


def test_what_was_kept_comes_back_after_a_crash_object_by_object(
    qtbot, open_dock, stack, monkeypatch
):
    monkeypatch.setattr("napari_sam._keeper.AT_ONCE", 100)
    path, _, truth = stack
    dock = open_dock(path)
    for label in [n for n in np.unique(truth[1]) if n][:2]:
        click(qtbot, dock, 1, *deepest(truth, 1, label))
        dock.session.commit()
    array = zarr.open_group(path / "labels" / "cells", mode="r+")["0"]
    before = np.asarray(array[:])
    for journal in dock.keeper._journals:
        journal.sync()
    dock.shut()
    array[:] = 0
    again = open_dock(path)
    qtbot.waitUntil(lambda: again.keeper.offer is not None, timeout=LONG_MS)
    again.keeper.request_restore()
    qtbot.waitUntil(lambda: "Restored" in again.session.message, timeout=LONG_MS)
    assert (np.asarray(array[:]) == before).all() and before.any()


def test_pixels_that_were_replaced_are_looked_at_anew(qtbot, open_dock):
    data, truth = drawn((2, 200, 180), 10)
    dock = open_dock(data=data)
    label = largest(truth, 0)
    y, x = deepest(truth, 0, label)
    click(qtbot, dock, 0, y, x)
    assert not (dock.volume.source.folder / "embeddings-tiny").exists()  # there is no file
    moved = np.roll(data, 40, 2)
    dock._binding.image.data = moved
    dock.session.clear()
    click(qtbot, dock, 0, y, (x + 40) % 180)
    patch = dock.session.preview[0]
    assert patch.mask.sum() > 0
    (top, left), (height, width) = patch.offset, patch.mask.shape
    seen = moved[0, top : top + height, left : left + width]
    assert len(np.unique(seen[patch.mask])) == 1 and (seen[patch.mask] > 0).all()


def test_the_brush_draws_on_labels_of_one_resolution(tmp_path):
    path = tmp_path / "cells"
    group = zarr.create_group(path)
    group.create_array("0", shape=(20, 30), chunks=(10, 10), dtype="uint16")
    axes = [{"name": name, "type": "space"} for name in "yx"]
    level = {
        "path": "0",
        "coordinateTransformations": [{"type": "scale", "scale": [1.0, 1.0]}],
    }
    group.attrs["ome"] = {"version": "0.5", "multiscales": [{"axes": axes, "datasets": [level]}]}
    values, options, _ = label_tuple(path, ImageRef.open(path))
    layer = Labels(values, name=options["name"])
    layer.paint((5, 6), 3)
    assert int(np.asarray(layer.data[5, 6])) == 3
