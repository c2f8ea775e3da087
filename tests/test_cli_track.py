"""``napari-sam track``: from labels of frames to tracked labels and other programs' files."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
from typer.testing import CliRunner

from napari_sam._cli import app
from napari_sam.volume.sources import forget_sources
from tests.tracking import ctc_rules
from tests.tracking.drawn import division, shuffled
from tests.volume.images import write_ome_zarr


def run(*arguments: object, code: int = 0) -> str:
    result = CliRunner().invoke(app, ["track", *map(str, arguments)])
    forget_sources()
    assert result.exit_code == code, result.output
    return " ".join(result.output.split())


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    """The drawn division, with other numbers in each frame but the first."""
    path = tmp_path / "labels.tif"
    made = shuffled(division(), seed=3, first=1)
    tifffile.imwrite(path, made, metadata={"axes": "TYX"})
    return path


def same_tracks(found: Path) -> bool:
    truth, made = division(), tifffile.imread(found)
    pairs = np.unique(np.stack([truth[truth > 0], made[truth > 0]], 1), axis=0)
    return len(pairs) == 6 == len(np.unique(pairs[:, 1])) and ((made > 0) == (truth > 0)).all()


def test_labels_are_tracked_and_exported(labels: Path, tmp_path: Path) -> None:
    pytest.importorskip("geff")
    out = tmp_path / "out.tif"
    exports = ("--export", "ctc", "--export", "ctc-truth", "--export", "trackmate-csv",
               "--export", "geff")  # fmt: skip
    text = run(labels, "-o", out, *exports, "--evidence", "0.3")
    assert "6 tracks of 23 objects in 6 frames, 1 divisions" in text
    assert "first axis" not in text
    assert same_tracks(out)
    assert not ctc_rules.faults(tmp_path / "out_RES", "res_track.txt", "mask")
    assert not ctc_rules.faults(tmp_path / "out_TRA", "man_track.txt", "man_track")
    assert (tmp_path / "out_trackmate" / "edges.csv").is_file()
    assert (tmp_path / "out.geff").is_dir()
    assert "use --force" in run(labels, "-o", out, code=7)
    (tmp_path / "out.tif").unlink()
    assert "use --force" in run(labels, "-o", out, *exports, code=7)
    run(labels, "-o", out, *exports, "--force", "--divisions", "propose")
    assert set((tmp_path / "out_RES" / "res_track.txt").read_text().split()[3::4]) == {"0"}


def test_divisions_are_decided_by_hand(labels: Path, tmp_path: Path) -> None:
    out, events = tmp_path / "out.tif", tmp_path / "events.csv"
    text = run(labels, "-o", out, "--divisions", "propose", "--events", events)
    assert "proposed" in text and "0 divisions" in text
    events.write_text(events.read_text().replace("refuse", "accept"))
    assert "1 divisions" in run(labels, "-o", out, "--decide", events, "--force")
    assert same_tracks(out)


def test_a_folder_with_a_table_is_taken_as_it_is(labels: Path, tmp_path: Path) -> None:
    """Parents are those of the table, whatever overlaps tell."""
    all_of_them = ("--evidence", "0.3", "--export", "ctc")
    run(labels, "-o", tmp_path / "one.tif", *all_of_them)
    table = tmp_path / "one_RES" / "res_track.txt"
    rows = [line.split() for line in table.read_text().splitlines()]
    table.write_text("".join(" ".join([*row[:3], "0"]) + "\n" for row in rows))
    kept = ("--method", "ids", "--export", "ctc")
    assert "0 divisions" in run(tmp_path / "one_RES", "-o", tmp_path / "two.tif", *kept)
    assert (tmp_path / "two_RES" / "res_track.txt").read_text() == table.read_text()
    events = ("--events", tmp_path / "e.csv")
    text = run(tmp_path / "one_RES", "-o", tmp_path / "3.tif", *kept, *events, code=2)
    assert "nothing to decide" in text


def test_the_image_tells_the_voxel_size(labels: Path, tmp_path: Path) -> None:
    image = np.zeros((6, 40, 60), np.uint8)
    path = write_ome_zarr(tmp_path / "image.zarr", image, "tyx")
    run(labels, "-o", tmp_path / "a.zarr", "--image", path, "--spacing", "0.5,0.25")
    other = write_ome_zarr(tmp_path / "other.zarr", image[:, :20], "tyx")
    assert "no image of the labels" in run(
        labels, "-o", tmp_path / "b.tif", "--image", other, code=3
    )


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["nothing.tif", "-o", "a.tif"], 3, "no file"),
        (["labels.tif", "-o", "a.png"], 2, "ends in"),
        (["labels.tif", "-o", "labels.tif", "--force"], 7, "the image itself"),
        (["labels.tif", "-o", "a.tif", "--max-distance", "3"], 2, "no effect"),
        (["labels.tif", "-o", "a.tif", "--method", "laptrack", "--iou", "0.3"], 2, "no effect"),
        (["labels.tif", "-o", "a.tif", "--method", "ids", "--iou", "0.3"], 2, "no effect"),
        (["labels.tif", "-o", "a.tif", "--decide", "e.csv", "--evidence", "1"], 2, "no effect"),
        (["labels.tif", "-o", "a.tif", "--divisions", "propose", "--evidence", "1"], 2, "propose"),
        (["labels.tif", "-o", "a.tif", "--iou", "2"], 8, "at most 1"),
        (["labels.tif", "-o", "a.tif", "--spacing", "1,1,1"], 3, "2 numbers"),
        (["labels.tif", "-o", "a.tif", "--events", "a.txt"], 2, ".csv"),
        (["labels.tif", "-o", "a.tif", "--decide", "none.csv"], 8, "cannot be read"),
        (["labels.tif", "-o", "a.tif", "--axes", "zyc"], 3, "axes"),
        (["labels.tif", "-o", "no/a.tif"], 7, "no folder"),
    ],
)
def test_what_cannot_be_is_said(
    labels: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], code: int, says: str
) -> None:
    monkeypatch.chdir(labels.parent)
    assert says in run(*arguments, code=code)
    assert [path.name for path in labels.parent.iterdir()] == ["labels.tif"]
