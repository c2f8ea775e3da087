"""Files of tracks: written, checked against their rules, read again; wrong files."""

import csv
import shutil
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from napari_sam.errors import ImageError, TrackingError
from napari_sam.progress import finish
from napari_sam.tracking import ctc, geff_store, trackmate
from napari_sam.tracking.event_table import read_events, write_events
from napari_sam.tracking.lineage import Lineage
from napari_sam.tracking.pipeline import track_labels
from napari_sam.tracking.relabel import Relabelled
from napari_sam.tracking.series import LabelSeries
from napari_sam.tracking.write import write_tracked
from tests.tracking import ctc_rules
from tests.tracking.drawn import division

MADE = {"by": "a test"}


def tracked(depth: int = 0, gap: bool = False) -> Relabelled:
    """The drawn division, found; ``gap``: with an object missing for a frame."""
    labels = division(depth)
    if gap:
        labels[1][labels[1] == 1] = 0
    axes, spacing = ("tzyx", (2.0, 0.5, 0.5)) if depth else ("tyx", (0.5, 0.5))
    series = LabelSeries.open(labels, axes=axes, spacing=spacing)
    return Relabelled(series, finish(track_labels(series)).accept(0.3))


def assert_equal(one: Lineage, other: Lineage, *, sizes: bool = True) -> None:
    np.testing.assert_allclose(one.table(), other.table(), atol=1e-6)
    assert one.graph == other.graph
    assert one.spacing == other.spacing
    if sizes:
        found, wanted = (lineage.objects.size[lineage.rows()] for lineage in (one, other))
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("naming", [ctc.RESULT, ctc.TRUTH])
@pytest.mark.parametrize("depth", [0, 5])
@pytest.mark.parametrize("gap", [False, True])
def test_ctc_folders_keep_the_rules_and_everything(
    tmp_path: Path, naming: ctc.Naming, depth: int, gap: bool
) -> None:
    made, folder = tracked(depth, gap), tmp_path / "01_RES"
    finish(ctc.write_ctc(made, folder, naming=naming))
    assert not ctc_rules.faults(folder, naming.table, naming.mask)
    series, lineage = finish(ctc.read_ctc(folder, spacing=made.lineage.spacing))
    assert_equal(lineage, made.lineage)
    np.testing.assert_array_equal(Relabelled(series, lineage)[...], made[...])
    assert [path.name for path in tmp_path.iterdir()] == ["01_RES"]


def test_the_rules_are_not_kept_by_anything(tmp_path: Path) -> None:
    finish(ctc.write_ctc(tracked(), tmp_path / "r"))
    table = tmp_path / "r" / "res_track.txt"
    table.write_text(table.read_text().replace("1 0 5 0", "1 1 5 0"))
    assert ctc_rules.faults(tmp_path / "r", "res_track.txt", "mask")


def test_ids_beyond_16_bits_are_numbered_anew(tmp_path: Path) -> None:
    labels = division().astype(np.uint32) * 100_000
    series = LabelSeries.open(labels, axes="tyx")
    made = Relabelled(series, finish(track_labels(series)).accept(0.3))
    assert made.dtype == np.uint32
    finish(ctc.write_ctc(made, tmp_path / "r"))
    assert not ctc_rules.faults(tmp_path / "r", "res_track.txt", "mask")
    _, lineage = finish(ctc.read_ctc(tmp_path / "r"))
    assert [one.id for one in lineage.tracks] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("1 0 5 0\nx 0 5 0\n", "line 2"),
        ("1 0 5 0\n1 0 5 0\n", "twice"),
        ("1 0 5 9\n", "no such track"),
        ("1 0 5 0\n", "has the label"),
        ("1 0 5 0\n77 0 1 0\n", "track 77 in frame 0"),
        ("\n", "has the label"),
    ],
)
def test_ctc_tables_that_do_not_fit_are_refused(tmp_path: Path, line: str, says: str) -> None:
    finish(ctc.write_ctc(tracked(), tmp_path / "r"))
    (tmp_path / "r" / "res_track.txt").write_text(line)
    with pytest.raises(TrackingError, match=says):
        finish(ctc.read_ctc(tmp_path / "r"))


def test_a_parent_that_ends_too_late_is_refused(tmp_path: Path) -> None:
    finish(ctc.write_ctc(tracked(), tmp_path / "r"))
    table = tmp_path / "r" / "res_track.txt"
    table.write_text(table.read_text().replace("6 2 5 0", "6 2 5 1"))
    with pytest.raises(TrackingError, match="a parent ends before its children"):
        finish(ctc.read_ctc(tmp_path / "r"))


def test_folders_without_table_or_masks_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TrackingError, match="neither"):
        finish(ctc.read_ctc(tmp_path))
    (tmp_path / "res_track.txt").write_text("")
    with pytest.raises(TrackingError, match="no masks"):
        finish(ctc.read_ctc(tmp_path))


@pytest.mark.parametrize("depth", [0, 5])
def test_geff_comes_back(tmp_path: Path, depth: int) -> None:
    geff = pytest.importorskip("geff")
    made, path = tracked(depth, gap=True), tmp_path / "tracks.geff"
    geff_store.write_geff(made.lineage, path, unit="micrometer")
    again = geff_store.read_geff(path)
    assert_equal(again, made.lineage)
    assert again.shape == made.shape
    checks = geff.validate.data.ValidationConfig(graph=True, lineage=True, tracklet=True)
    geff.core_io.read_to_memory(path, data_validation=checks)
    assert [one.name for one in tmp_path.iterdir()] == ["tracks.geff"]


def test_geff_of_others_without_our_names(tmp_path: Path) -> None:
    geff = pytest.importorskip("geff")
    import geff_spec

    axes = [geff_spec.Axis(name=a, type="time" if a == "t" else "space") for a in "tyx"]
    metadata = geff_spec.GeffMetadata(
        directed=True, axes=axes, node_props_metadata={}, edge_props_metadata={}
    )
    values = {"t": [2.0, 0, 1, 2], "y": [1.0, 2, 3, 4], "x": [5.0, 6, 7, 8]}
    nodes, edges = np.array([30, 10, 20, 40], "u8"), np.array([[10, 20], [20, 30], [20, 40]], "u8")
    properties = {k: {"values": np.array(v), "missing": None} for k, v in values.items()}
    geff.core_io.write_arrays(tmp_path / "g", nodes, properties, edges, {}, metadata)
    lineage = geff_store.read_geff(tmp_path / "g")
    assert lineage.shape == (3, 5, 9)
    assert [(one.begin, one.end, len(one.parents)) for one in lineage.tracks] == [
        (2, 2, 1), (0, 1, 0), (2, 2, 1)
    ]  # fmt: skip


def test_what_is_no_geff_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("geff")
    for path in (tmp_path, tmp_path / "nothing.geff"):
        with pytest.raises(TrackingError, match="cannot be read as GEFF"):
            geff_store.read_geff(path)


@pytest.mark.parametrize("depth", [0, 5])
def test_trackmate_tables_come_back(tmp_path: Path, depth: int) -> None:
    made, folder = tracked(depth), tmp_path / "t"
    trackmate.write_trackmate(made.lineage, folder, unit="micrometer")
    assert_equal(trackmate.read_trackmate(folder, spacing=made.lineage.spacing), made.lineage)
    with (folder / "spots.csv").open() as file:
        header, *_, units, first = [row for _, row in zip(range(5), csv.reader(file), strict=False)]
    spot = dict(zip(header, first, strict=True))
    assert units[4] == "(micrometer)"
    assert float(spot["POSITION_X"]) == pytest.approx(10 * 0.5)  # units of length, not pixels
    assert {"ID", "TRACK_ID", "FRAME", "POSITION_T", "RADIUS", "QUALITY"} <= set(spot)


def test_trackmate_families_have_one_number(tmp_path: Path) -> None:
    made = tracked()
    trackmate.write_trackmate(made.lineage, tmp_path / "t")
    with (tmp_path / "t" / "spots.csv").open() as file:
        rows = list(csv.DictReader(file))[3:]
    trees = {int(row["LABEL"]): int(row["TRACK_ID"]) for row in rows}
    (parent, children), *_ = made.lineage.divisions.items()
    assert {trees[parent]} == {trees[child] for child in children}
    assert len(set(trees.values())) == 4


@pytest.mark.parametrize(
    ("name", "old", "new", "says"),
    [
        ("spots.csv", "FRAME", "NOTHING", "column FRAME"),
        ("spots.csv", "7.0,", "seven,", "not all numbers"),
        ("edges.csv", "SPOT_SOURCE_ID", "NOTHING", "column SPOT_SOURCE_ID"),
        ("edges.csv", "0 -> 1,0,0,1", "0 -> 1,0,0,999", "point 999"),
        ("edges.csv", "0 -> 1,0,0,1", "0 -> 1,0,1,0", "later frame"),
    ],
)
def test_trackmate_tables_that_are_wrong_are_refused(
    tmp_path: Path, name: str, old: str, new: str, says: str
) -> None:
    trackmate.write_trackmate(tracked().lineage, tmp_path / "t")
    path = tmp_path / "t" / name
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(TrackingError, match=says):
        trackmate.read_trackmate(tmp_path / "t", spacing=(0.5, 0.5))
    path.unlink()
    with pytest.raises(TrackingError, match="cannot be read"):
        trackmate.read_trackmate(tmp_path / "t", spacing=(0.5, 0.5))


@pytest.mark.parametrize("suffix", [".tif", ".npy", ".zarr"])
@pytest.mark.parametrize("depth", [0, 5])
def test_labels_are_written_frame_by_frame(tmp_path: Path, suffix: str, depth: int) -> None:
    made, path = tracked(depth), tmp_path / f"labels{suffix}"
    finish(write_tracked(made, path, provenance=MADE))
    axes = "tzyx" if depth else "tyx"
    again = LabelSeries.open(path, axes=axes if suffix == ".npy" else None)
    assert again.shape == made.shape and again.axes == axes and not again.renamed
    np.testing.assert_array_equal(np.stack([again.frame(t) for t in range(6)]), made[...])
    if suffix == ".zarr":
        assert again.spacing == made.lineage.spacing
    assert [one.name for one in tmp_path.iterdir()] == [path.name]


def test_a_tiff_has_the_axes_and_the_scale_in_it(tmp_path: Path) -> None:
    series = LabelSeries.open(division(5), axes="tzyx", spacing=(2.0, 0.5, 0.25))
    image = series.image.__class__(**{**vars(series.image), "units": (None, *["micrometer"] * 3)})
    made = Relabelled(LabelSeries(image, series.spacing), tracked(5).lineage)
    finish(write_tracked(made, tmp_path / "l.ome.tif", provenance=MADE))
    with tifffile.TiffFile(tmp_path / "l.ome.tif") as tiff:
        assert tiff.is_ome and tiff.series[0].axes == "TZYX"
        assert "a test" in (tiff.ome_metadata or "")
    again = LabelSeries.open(tmp_path / "l.ome.tif")
    assert again.spacing == (2.0, 0.5, 0.25) and again.unit == "micrometer"


def test_memory_is_that_of_a_few_frames(tmp_path: Path) -> None:
    peaks = []
    for frames in (6, 30):
        path = tmp_path / f"{frames}.npy"
        labels = np.lib.format.open_memmap(path, "w+", np.uint16, (frames, 200, 200))
        labels[:, 50:150, 50:150] = 7
        labels.flush()
        tracemalloc.start()
        series = LabelSeries.open(path, axes="tyx")
        made = Relabelled(series, finish(track_labels(series)).accept())
        finish(write_tracked(made, tmp_path / "out.tif", provenance=MADE))
        finish(ctc.write_ctc(made, tmp_path / "out"))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.3 * peaks[0]


class Damaged(LabelSeries):
    """Fails in the middle of writing, as a full disk or a damaged frame does."""

    def frame(self, time: int) -> NDArray[Any]:
        if time == 3:
            raise OSError("No space left on device")
        return super().frame(time)


@pytest.mark.parametrize("name", ["l.tif", "l.npy", "l.zarr", "ctc"])
@pytest.mark.parametrize("earlier", [False, True])
def test_half_a_result_never_appears(tmp_path: Path, name: str, earlier: bool) -> None:
    made, path = tracked(), tmp_path / name
    full = Relabelled(Damaged(made.series.image, made.series.spacing), made.lineage)

    def write(labels: Relabelled) -> None:
        if name == "ctc":
            finish(ctc.write_ctc(labels, path))
        else:
            finish(write_tracked(labels, path, provenance=MADE))

    if earlier:
        write(made)
        before = contents(path)
    with pytest.raises(OSError, match="No space"):
        write(full)
    assert [one.name for one in tmp_path.iterdir()] == ([name] if earlier else [])
    if earlier:
        assert contents(path) == before


def contents(path: Path) -> dict[str, bytes]:
    files = [path] if path.is_file() else [one for one in path.rglob("*") if one.is_file()]
    return {str(one.relative_to(path)): one.read_bytes() for one in files}


def test_a_folder_of_frames_is_a_series(tmp_path: Path) -> None:
    labels = division()
    for t, frame in enumerate(labels):
        tifffile.imwrite(tmp_path / f"frame{t:02d}.tif", frame)
    series = LabelSeries.open(tmp_path)
    assert series.shape == labels.shape and not series.renamed
    np.testing.assert_array_equal(series.frame(4), labels[4])
    tifffile.imwrite(tmp_path / "frame03.tif", labels[3][:20])
    with pytest.raises(ImageError, match=r"frame03\.tif has the shape"):
        series.frame(3)
    (tmp_path / "frame02.tif").write_bytes(b"no picture")
    with pytest.raises(ImageError, match=r"frame02\.tif cannot be read"):
        series.frame(2)


def test_events_are_decided_in_a_table(tmp_path: Path) -> None:
    series = LabelSeries.open(division(), axes="tyx")
    proposal, path = finish(track_labels(series)), tmp_path / "events.csv"
    for evidence, accepted in ((0.0, proposal.divisions), (None, ()), (1.0, ())):
        write_events(proposal, path, evidence=evidence)
        assert read_events(proposal, path).accepted == accepted
    write_events(proposal, path, evidence=None)
    text = path.read_text()
    assert text.count("\n") == 1 + 1 + 1 + 1
    path.write_text(text.replace("refuse", "Accept "))
    assert read_events(proposal, path).accepted == proposal.divisions
    wrong = (("refuse", "perhaps", "'perhaps'"), ("division,3", "division,4", "line 2"))
    for old, new, says in wrong:
        path.write_text(text.replace(old, new))
        with pytest.raises(TrackingError, match=says):
            read_events(proposal, path)
    shutil.rmtree(tmp_path)
    with pytest.raises(TrackingError, match="cannot be read"):
        read_events(proposal, path)
