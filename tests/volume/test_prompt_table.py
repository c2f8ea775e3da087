"""Points and boxes from a CSV file: what is read, what is refused, and the objects they make."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from napari_sam.core.prompts import Prompts
from napari_sam.errors import PromptError, StoreMismatchError
from napari_sam.progress import finish
from napari_sam.volume.image import ImageRef
from napari_sam.volume.intensity import VolumeIntensity
from napari_sam.volume.link import LinkParams
from napari_sam.volume.pipelines import VolumeJob, stitch_volume
from napari_sam.volume.prompt_pipeline import segment_prompts
from napari_sam.volume.prompt_table import read_prompts
from tests.volume.fakes import Greys, cells

APART = LinkParams(planes_apart=True)


@dataclass(frozen=True)
class Boxes(Greys):
    """Takes the object in the middle of a box."""

    def decode(self, embedding, prompts, **kwargs):
        if prompts.boxes is not None:
            middle = (prompts.boxes[:, None, :2] + prompts.boxes[:, None, 2:]) / 2
            prompts = Prompts(points=middle, point_labels=np.ones(middle.shape[:2], int))
        return super().decode(embedding, prompts, **kwargs)


def table(folder: Path, text: str) -> Path:
    path = folder / "found.csv"
    path.write_text(text)
    return path


def test_points_are_objects_and_those_of_one_object_belong_together(tmp_path: Path) -> None:
    text = "z, Y, x, label, object\n0,1,2,,\n3.4,5,6.5,1,a\n3,7,8,0,a\n\n0,9,9,1,a\n"
    found = read_prompts(table(tmp_path, text)).objects
    assert [(one.plane, one.line) for one in found] == [((0, 0), 2), ((0, 3), 3), ((0, 0), 6)]
    assert found[1].prompt.positive == ((5.0, 6.5),)
    assert found[1].prompt.negative == ((7.0, 8.0),)


def test_boxes_and_tables_of_others(tmp_path: Path) -> None:
    boxes = read_prompts(table(tmp_path, "t;y0;x0;y1;x1;score\n2;0;1;10;11.5;0.9\n")).objects
    assert (boxes[0].plane, boxes[0].prompt.box) == ((2, 0), (0.0, 1.0, 10.0, 11.5))
    napari = "index,axis-0,axis-1,axis-2\n0.0,4.0,10.5,20.0\n"
    points = read_prompts(table(tmp_path, napari)).objects
    assert (points[0].plane, points[0].prompt.positive) == ((0, 4), ((10.5, 20.0),))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"line 1: the columns are none; wanted: y,x"),
        ("a,b\n1,2\n", r"line 1: the columns are a, b; wanted: y,x"),
        ("y,x,y0,x0,y1,x1\n", r"line 1: the columns are .*; wanted: y,x"),
        ("y,x\n", r"has no line but the titles"),
        ("y,x\n1,2\n1,two\n", r"line 3: x is 'two'; a number is wanted"),
        ("y,x\n1,nan\n", r"line 2: x is 'nan'; a number is wanted"),
        ("y,x\n\n1\n", r"line 3: 1 values in 2 columns"),
        ("y,x,label\n1,2,7\n", r"line 2: label is '7'"),
        ("y,x,label,object\n1,2,0,a\n", r"line 2: object a has no point with label 1"),
        ("y0,x0,y1,x1\n5,5,5,9\n", r"line 2: box .* is empty"),
        ("y0,x0,y1,x1,object\n0,0,5,9,a\n1,1,5,9,a\n", r"line 3: object a has a box in line 2"),
    ],
)
def test_what_cannot_be_meant_is_said_with_its_line(
    tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(PromptError, match=message):
        read_prompts(table(tmp_path, text))


def test_files_that_are_no_tables_are_said(tmp_path: Path) -> None:
    with pytest.raises(PromptError, match="cannot be read: No such file"):
        read_prompts(tmp_path / "none.csv")
    (tmp_path / "a.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(PromptError, match="no text in UTF-8"):
        read_prompts(tmp_path / "a.csv")


def volume_job(data: np.ndarray, side: int = 48, halo: int = 16) -> VolumeJob:
    return VolumeJob(ImageRef.open(data), VolumeIntensity(None), Boxes(), side, halo)


def test_what_does_not_fit_the_image_or_a_tile_is_said(tmp_path: Path) -> None:
    job = volume_job(cells((2, 150, 130))[0])
    for text, message in (
        ("z,y,x\n0,1,1\n2,1,1\n", r"line 3: there is no plane t 0, z 2"),
        ("y,x\n150,3\n", r"line 2: point \(150.0, 3.0\) lies outside"),
        ("y0,x0,y1,x1\n0,130,9,140\n", r"line 2: box .* lies outside"),
        ("y0,x0,y1,x1\n0,0,150,130\n", r"line 2: this object reaches beyond its tile, rows 32"),
    ):
        with pytest.raises(PromptError, match=message):
            next(segment_prompts(job, tmp_path / "s", read_prompts(table(tmp_path, text))))
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize("kind", ["points", "boxes"])
def test_each_object_that_is_named_is_found_whole_and_no_other(tmp_path: Path, kind: str) -> None:
    data, truth = cells((2, 150, 130), count=30)
    lines, wanted = [], np.zeros_like(truth, bool)
    for z, plane in enumerate(truth):
        for label in np.unique(plane)[1::2]:  # every second one
            y, x = np.argwhere(plane == label).T
            if kind == "boxes":
                lines.append(f"{z},{y.min()},{x.min()},{y.max() + 1},{x.max() + 1}")
            else:  # a pixel of the rim, so that most of some objects lies in another tile
                lines.append(f"{z},{y[0]},{x[0]}")
            wanted[z] |= plane == label
    titles = "z,y,x\n" if kind == "points" else "z,y0,x0,y1,x1\n"
    found = read_prompts(table(tmp_path, titles + "\n".join(lines)))
    job = volume_job(data)
    store = finish(segment_prompts(job, tmp_path / "s", found, embeddings=tmp_path / "e"))
    labels = finish(stitch_volume(store, job.image, tmp_path / "o.zarr", "a", params=APART))
    whole = (slice(0, 150), slice(0, 130))
    result = np.stack([labels.read((0, z), whole) for z in range(2)])
    np.testing.assert_array_equal(result > 0, wanted)
    assert labels.count == len(lines)


def test_another_table_is_refused_and_one_that_changes_meanwhile(tmp_path: Path) -> None:
    job = volume_job(cells((2, 150, 130))[0])
    first = read_prompts(table(tmp_path, "y,x\n20,20\n"))
    steps = segment_prompts(job, tmp_path / "s", first)
    next(steps)
    other = read_prompts(table(tmp_path, "y,x\n20,21\n"))
    with pytest.raises(StoreMismatchError, match="has changed since the job began"):
        finish(steps)
    with pytest.raises(StoreMismatchError, match=r"params.prompts = '\w+', now"):
        next(segment_prompts(job, tmp_path / "s", other))
