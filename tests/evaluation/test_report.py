import json

import numpy as np
import pytest
from PIL import Image

from napari_sam.errors import ImageError, NapariSamError
from napari_sam.evaluation.card import END, START, replace_figures
from napari_sam.evaluation.datasets import read_item, select_items
from napari_sam.evaluation.groups import BARS, BOX, CLICK, COLUMNS, group_of
from napari_sam.evaluation.interactive import ObjectResult
from napari_sam.evaluation.params import EvaluationParams, Protocol
from napari_sam.evaluation.pictures import choose_cases, write_pictures
from napari_sam.evaluation.report import evaluate_pack
from napari_sam.evaluation.summary import check_bars, summarise
from tests.evaluation.fakes import PerfectPredictor, discs


def run(job):
    """Consume a job; its reports and its result."""
    reports = []
    while True:
        try:
            reports.append(next(job))
        except StopIteration as end:
            return reports, end.value


@pytest.fixture
def pack(tmp_path):
    """Two fluorescence images and one by other means, all of the same discs."""
    labels = discs()
    grey = np.where(labels > 0, 180, 30).astype(np.uint8)
    items = []
    for name, modality, origin in (
        ("dsb2018/a", "fluorescence", "manual"),
        ("dsb2018/b", "fluorescence", "manual"),
        ("other/c", "phase-contrast", "model"),
    ):
        path = tmp_path / f"{name}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(grey).save(path)
        Image.fromarray(labels.astype(np.uint8)).save(path.with_name(f"{path.stem}_label.png"))
        items.append(
            {
                "id": name,
                "image": f"{name}.png",
                "label": f"{name}_label.png",
                "axes": "YX",
                "modality": modality,
                "dataset": name[:5],
                "label_kind": "instance",
                "gt_origin": origin,
            }
        )
    manifest = {"pack": "toy", "version": 7, "items": items}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    return tmp_path


@pytest.fixture
def report(pack):
    return run(evaluate_pack(PerfectPredictor(discs()), pack, EvaluationParams(walker_objects=3)))[
        1
    ]


def test_a_perfect_predictor_reaches_every_bar_and_beats_every_method(report):
    fluorescence, other = report.groups
    assert (fluorescence.name, fluorescence.n_images, fluorescence.n_objects) == (
        "fluorescence",
        2,
        8,
    )
    assert other.name == "phase-contrast (other)"
    for group in report.groups:
        assert {group.columns[column].mean for column in COLUMNS} == {1}
        assert group.click_error.mean == pytest.approx(0.25)
    walker = next(r for r in fluorescence.click_rivals if r.name == "random walker")
    assert walker.iou.n == 3
    own_bars = [bar for bar in BARS if bar.group == "fluorescence"]
    assert len(report.checks) == len(own_bars) + 8
    assert [check.passed for check in report.checks[: len(own_bars)]] == [True] * len(own_bars)


def test_a_bar_is_failed_and_a_better_method_named():
    result = ObjectResult("H&E", "a", 1, 50, (0.5,), 0.5, 0.9, (0.9,), 0.9, {"watershed": 0.6})
    groups = summarise([result], {"a": "manual"})
    found = {check.demand: check.passed for check in check_bars(groups)}
    assert found == {
        f"H&E, {CLICK} at least 0.60": False,
        f"H&E, {BOX} at least 0.75": True,
        f"H&E, {CLICK} above watershed (0.600)": False,
    }


def test_a_slow_method_is_compared_on_its_own_objects():
    both = ObjectResult("g", "a", 1, 50, (0.5,), 0.5, 0.9, (0.9,), 0.9, {"random walker": 0.4})
    only = ObjectResult("g", "a", 2, 50, (0.1,), 0.5, 0.9, (0.9,), 0.9)
    (group,) = summarise([both, only], {"a": "manual"})
    assert group.columns[CLICK].mean == pytest.approx(0.3)
    assert group.click_rivals[0].lead.mean == pytest.approx(0.1)


def test_markdown_has_rows_marks_and_provenance(report):
    text = report.to_markdown()
    assert "| fluorescence | 2 | 8 | 1.000 [1.00, 1.00] |" in text
    assert "| phase-contrast (other) † |" in text
    assert "- pass: fluorescence, 1 click at least 0.78: 1.000" in text
    assert "- pack version: 7" in text
    widths = {line.count("|") for line in text.splitlines() if line.startswith("|")}
    assert len(widths) == 2  # two tables, each with rows of one width


def test_json_has_every_object(report):
    content = json.loads(report.to_json())
    assert content["format_version"] == 1
    assert content["provenance"] == {"pack": "toy", "pack version": 7}
    assert len(content["results"]) == 12
    assert content["results"][0]["clicks"] == [1, 1, 1, 1, 1]
    assert content["params"]["least_area"] == 20


def test_progress_counts_images(pack):
    reports, _ = run(evaluate_pack(PerfectPredictor(discs()), pack))
    assert [(r.done, r.total) for r in reports] == [(0, 3), (1, 3), (2, 3), (3, 3)]


def test_images_and_data_sets_can_be_limited(pack):
    model = PerfectPredictor(discs())
    _, one_each = run(evaluate_pack(model, pack, EvaluationParams(images_per_group=1)))
    assert [group.n_images for group in one_each.groups] == [1, 1]
    _, only = run(evaluate_pack(model, pack, datasets=("OTHER",)))
    assert [group.name for group in only.groups] == ["phase-contrast (other)"]
    with pytest.raises(ImageError, match="no labelled 2D image"):
        run(evaluate_pack(model, pack, datasets=("nothing",)))


def test_a_folder_without_manifest_is_refused(tmp_path):
    with pytest.raises(ImageError, match="not a readable manifest"):
        run(evaluate_pack(PerfectPredictor(discs()), tmp_path))


def test_pictures_show_worst_cases_first(pack, report, tmp_path):
    _, files = run(
        write_pictures(PerfectPredictor(discs()), pack, report.results, tmp_path / "out", worst=2)
    )
    assert len(files) == 6  # two groups, three prompts
    with Image.open(files[0]) as picture:
        assert picture.size[0] > 400
    results = [ObjectResult("g", f"{i // 4}", i, 50, (i / 20,), 1, 1, (1,), 1) for i in range(20)]
    chosen = choose_cases(results[::-1], "click", worst=3, median=2)
    assert [r.label for r in chosen[:3]] == [0, 1, 4]  # two of the first image, then the next
    assert {r.label for r in chosen[3:]} <= {8, 9, 10, 11, 12}


def test_a_card_gets_new_figures_and_nothing_else(tmp_path):
    card = tmp_path / "card.md"
    card.write_text(f"before\n{START}\nold \\1\n{END}\nafter\n")
    replace_figures(card, "new \\1 figures\n")
    assert card.read_text() == f"before\n{START}\n\nnew \\1 figures\n\n{END}\nafter\n"
    card.write_text("no marks")
    with pytest.raises(NapariSamError, match="one region"):
        replace_figures(card, "x")


def test_rows_are_named_by_data_set_and_modality():
    assert group_of({"id": "dsb2018/x", "modality": "histology"}) == "H&E"
    assert group_of({"id": "stardist/img2d", "modality": "fluorescence"}) == "StarDist 2D"
    assert group_of({"id": "wbc_1/002", "modality": "blood smear"}) == "blood smear (wbc_1)"


def test_stacks_and_semantic_maps_become_planes_of_instances(tmp_path):
    import tifffile

    stack = np.zeros((5, 20, 20), np.uint16)
    stack[1, 2:6, 2:6] = stack[1, 10:15, 10:15] = 1
    tifffile.imwrite(tmp_path / "l.tif", stack)
    tifffile.imwrite(tmp_path / "i.tif", stack * 100)
    item = {
        "id": "s/1",
        "image": "i.tif",
        "label": "l.tif",
        "axes": "ZYX",
        "modality": "CT",
        "dataset": "s",
        "label_kind": "semantic",
    }
    (tmp_path / "manifest.json").write_text(json.dumps([item]))
    (sample,) = read_item(tmp_path, select_items(tmp_path)[0])  # empty planes are left out
    assert sample.name == "s/1#1"
    assert sample.labels.max() == 2
    assert select_items(tmp_path, axes=("YX",)) == []


def test_the_automatic_protocol_alone(pack):
    """Only images all of whose objects are labelled; no clicks, no baselines, no bars."""
    manifest = json.loads((pack / "manifest.json").read_text())
    manifest["items"][2]["sparse_annotation"] = True
    (pack / "manifest.json").write_text(json.dumps(manifest))
    params = EvaluationParams(protocols=(Protocol.AUTOMATIC,))
    report = run(evaluate_pack(PerfectPredictor(discs(), score=0.97), pack, params))[1]
    assert (report.groups, report.results, report.checks) == ((), (), ())
    (row,) = report.automatic
    assert (row.name, row.n_images, row.n_objects) == ("fluorescence", 2, 8)
    assert (row.f1.mean, row.mean_accuracy, row.mean_precision, row.best_iou) == (1, 1, 1, 1)
    markdown = report.to_markdown()
    assert "| fluorescence | 2 | 8 | 1.000 [1.00, 1.00] |" in markdown
    assert "Mean IoU over objects" not in markdown
    assert json.loads(report.to_json())["automatic"][0]["f1"]["mean"] == 1


def test_both_protocols(pack):
    params = EvaluationParams(protocols=tuple(Protocol), walker_objects=0)
    report = run(evaluate_pack(PerfectPredictor(discs()), pack, params))[1]
    assert len(report.groups) == len(report.automatic) == 2
