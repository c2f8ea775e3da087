"""The protocol of propagation: its user, its volumes, simpler ways, and results that are kept."""

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_sam.errors import PromptError, StoreMismatchError
from napari_sam.evaluation import propagation
from napari_sam.evaluation.propagation import StackResult, evaluate, params_of, table
from napari_sam.evaluation.sources import open_images
from napari_sam.evaluation.stack_baselines import (
    component,
    copied,
    drawn_planes,
    interpolated,
    spread_planes,
)
from napari_sam.evaluation.stack_items import read_stacks
from napari_sam.evaluation.stack_user import Annotation, key_planes, middle_plane
from tests.volume.fakes import Greys, cells

WAY = "points,least_overlap=0.01,most_area_change=50,least_contrast=0,stiffness=0,grey_weight=0"


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    """A stack and a film of the same cells; in the film, numbers change from frame to frame."""
    image, truth = cells((8, 60, 90), count=6)
    unlinked = np.where(truth > 0, truth + 20 * np.arange(8)[:, None, None], 0)
    items = []
    for name, axes, labels in (
        ("stardist/a", "ZYX", truth),
        ("laptrack_timelapse/b", "TYX", unlinked),
    ):
        path = tmp_path / name
        path.parent.mkdir()
        tifffile.imwrite(path.with_suffix(".tif"), image)
        tifffile.imwrite(path.with_name(path.name + "_label.tif"), labels.astype(np.uint16))
        items.append({
            "id": name, "image": f"{name}.tif", "label": f"{name}_label.tif", "axes": axes,
            "modality": "m", "dataset": "d", "label_kind": "instance", "gt_origin": "manual",
            "pixel_size": {"unit": "micrometer", "Z": 2.0, "Y": 0.5, "X": 0.5},
        })  # fmt: skip
    (tmp_path / "manifest.json").write_text(json.dumps(items))
    return tmp_path


def test_volumes_are_turned_cut_and_linked(pack: Path) -> None:
    stack, film = read_stacks(open_images(pack), objects=3)
    assert (stack.along, film.along) == ("z", "t")
    assert stack.image.spacing == (2.0, 0.5, 0.5)
    assert (
        len(stack.objects) == 3
        and stack.objects == next(iter(read_stacks(open_images(pack), objects=3))).objects
    )
    for item in (stack, film):
        for one in item.objects:
            assert np.count_nonzero((item.truth == one).any((1, 2))) >= 5
    (part,) = read_stacks(open_images(pack), objects=3, planes=6, only=("stardist",))
    assert part.truth.shape == (6, 60, 90) and part.image.depth == 6
    assert (part.truth == stack.truth[1:7]).all()


def test_the_user_clicks_corrects_and_says_absent() -> None:
    truth = np.zeros((5, 20, 20), bool)
    truth[1:4, 5:15, 5:15] = True
    note = Annotation(truth)
    note.begin()
    assert middle_plane(truth) == 2 and [c[:2] for c in note.clicks[2]] == [(9, 9)]
    answer = truth.copy()
    answer[4, :12, :12] = True
    answer[1, 5:8, 5:15] = False
    assert note.correct(answer) and note.absent == {4}
    answer[4] = False
    assert note.correct(answer) and note.clicks[1][0].positive
    first, key, last = key_planes({7: note})
    assert (first.plane, first.ids, last.absent) == (1, (7,), {7})
    assert first.labels is not None and key.labels is None
    assert not note.correct(truth)


def test_simpler_ways() -> None:
    truth = np.zeros((9, 20, 30), bool)
    for plane in range(1, 8):
        truth[plane, 5:10, 2 * plane : 2 * plane + 8] = True
    assert spread_planes(truth, 1) == [4] and spread_planes(truth, 3) == [2, 4, 6]
    assert drawn_planes(truth, 4) == [1, 5, 7]
    copies = copied({2: truth[2], 6: truth[6]}, truth)
    assert (copies[1] == truth[2]).all() and (copies[7] == truth[6]).all()
    assert not copies[0].any() and not copies[8].any()
    between = interpolated({1: truth[1], 7: truth[7]}, truth, (1.0, 1.0))
    assert (between == truth).all()
    grey = [np.where(plane, 200, 20).astype(np.uint8) for plane in truth]
    assert (component(grey, (4, 7, 10)) == truth).all()


def test_results_are_kept_and_come_to_a_table(pack: Path, tmp_path: Path, monkeypatch) -> None:
    model = Greys("tiny")
    found = evaluate(read_stacks(open_images(pack), objects=2), model, [WAY], tmp_path / "r")
    mine = [result for result in found[WAY] if result.title.startswith("StarDist")]
    assert len(mine) == 2 * 6
    assert all(result.iou == 1 for result in mine)  # one click is enough for this model
    monkeypatch.setattr(propagation, "ask", None)
    again = evaluate(read_stacks(open_images(pack), objects=2), model, [WAY], tmp_path / "r")
    assert again == found
    rows = table(found)
    assert any("StarDist" in row and "| 1.000 | 1.000 | 1.000 | 1.0 |" in row for row in rows)
    assert any("drawn every 10th" in row for row in rows)


def test_clicks_at_which_the_model_sees_nothing_are_in_vain(pack: Path, monkeypatch) -> None:
    item = next(read_stacks(open_images(pack), objects=2))
    blind, real = item.objects[0], propagation.propagate_objects

    def asked(image, keys, **options):
        keys = list(keys)
        if any(blind in key.prompts for key in keys) or not any(key.ids for key in keys):
            raise PromptError("the model finds nothing")
        yield from real(image, keys, **options)

    monkeypatch.setattr(propagation, "propagate_objects", asked)
    embedder = propagation.open_embedder(item.image, Greys("tiny"), "as_is", None, None)
    results = propagation.ask(item, embedder, params_of(WAY), WAY, corrections=2)
    ious = {one: [r.iou for r in results if r.object == one] for one in item.objects}
    assert ious == {blind: [0, 0, 0], item.objects[1]: [1, 1, 1]}


def test_other_settings_are_not_the_same_results(pack: Path, tmp_path: Path, monkeypatch) -> None:
    stacks = list(read_stacks(open_images(pack), objects=1, only=("stardist",)))
    folder = tmp_path / "r"
    evaluate(iter(stacks), Greys("tiny"), [WAY], folder, simple=False, corrections=0)
    changed = params_of(WAY).changed(stiffness=1.0)
    monkeypatch.setattr(propagation, "params_of", lambda way: changed)
    with pytest.raises(StoreMismatchError):
        evaluate(iter(stacks), Greys("tiny"), [WAY], folder, simple=False, corrections=0)


def test_clicks_to_enough_count_what_was_not_reached() -> None:
    bad = [StackResult("a", 1, "default", n, 0.5, 4, 2.0) for n in range(1, 7)]
    good = [StackResult("a", 2, "default", n, 0.5 if n < 3 else 0.9, 4, 2.0) for n in range(1, 7)]
    (row,) = table({"default": [*bad, *good]})[2:]
    assert row == "| a | default | 2 | 0.500 | 0.700 | 0.700 | 5.0 | 2.0 |"


def test_ways_are_settings() -> None:
    assert params_of("default") == params_of("default")
    assert params_of("box+motion").motion and params_of("box").mode == "box"
    assert params_of("default,compete=False,least_score=0.2").compete is False
