import json

import numpy as np
import pytest
from PIL import Image

from napari_sam.errors import ImageError, NapariSamError, StoreMismatchError
from napari_sam.evaluation.bars import check_bars
from napari_sam.evaluation.card import END, regions_of, replace_figures, start
from napari_sam.evaluation.datasets import read_item, select_items
from napari_sam.evaluation.exams import Contender
from napari_sam.evaluation.groups import BARS, BOX, CLICK, COLUMNS, group_of
from napari_sam.evaluation.interactive import ObjectResult
from napari_sam.evaluation.interactive_exam import with_baselines
from napari_sam.evaluation.page import render_page
from napari_sam.evaluation.params import EvaluationParams, Protocol
from napari_sam.evaluation.pictures import choose_cases, draw_sheets, write_sheets
from napari_sam.evaluation.report import evaluate_images, evaluate_pack
from napari_sam.evaluation.sources import open_images
from napari_sam.evaluation.summary import clicks_to, summarise
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


def groups_of(report):
    classical = report.classical[Protocol.INTERACTIVE]
    return summarise(with_baselines(report.of(Protocol.INTERACTIVE), classical), report.origins)


def test_a_perfect_predictor_reaches_every_bar_and_beats_every_method(report):
    fluorescence, other = groups_of(report)
    found = (fluorescence.name, fluorescence.n_images, fluorescence.n_objects)
    assert found == ("fluorescence", 2, 8)
    assert other.name == "phase-contrast (other)"
    for group in (fluorescence, other):
        assert {group.columns[column].mean for column in COLUMNS} == {1}
        assert {estimate.mean for estimate in group.curve} == {1}
        assert [(reach.clicks.mean, reach.never) for reach in group.reaches] == [(1, 0), (1, 0)]
        assert group.click_error.mean == pytest.approx(0.25)
    walker = next(r for r in fluorescence.click_rivals if r.name == "random walker")
    assert walker.iou.n == 3
    own_bars = [bar for bar in BARS if bar.group == "fluorescence"]
    checks = check_bars([fluorescence, other])
    assert [check.passed for check in checks[: len(own_bars)]] == [True] * len(own_bars)
    assert [check.found for check in checks if "IoU|" in check.demand] == ["0.250", "0.250"]
    assert not checks[-1].passed


def result_of(label, clicks, box=0.9, **baselines):
    said = (0.9,) * len(clicks)
    return ObjectResult("H&E", "a", label, 50, clicks, clicks[0], box, said, 0.9, baselines)


def test_a_bar_is_failed_and_a_better_method_named():
    results = [result_of(1, (0.5, 0.5, 0.5, 0.5, 0.52), **{"ellipse in box": 0.95})]
    found = {
        check.demand: check.passed for check in check_bars(summarise(results, {"a": "manual"}))
    }
    assert found == {
        f"H&E, {CLICK} at least 0.68": False,
        f"H&E, {BOX} at least 0.80": True,
        "H&E, 5 clicks at least 0.76": False,
        f"H&E, {BOX} above ellipse in box (0.950)": False,
        "H&E, 5 clicks at least 0.05 above 1 click": False,
        f"{CLICK}, |predicted IoU - IoU| at most 0.08": False,
        f"{BOX}, |predicted IoU - IoU| at most 0.08": True,
    }


def test_a_slow_method_is_compared_on_its_own_objects():
    both, only = result_of(1, (0.5,), **{"random walker": 0.4}), result_of(2, (0.1,))
    (group,) = summarise([both, only], {"a": "manual"})
    assert group.columns[CLICK].mean == pytest.approx(0.3)
    assert group.click_rivals[0].lead.mean == pytest.approx(0.1)


def test_clicks_to_an_iou_count_all_clicks_where_it_is_never_reached():
    reaching, never = result_of(1, (0.5, 0.85, 0.7)), result_of(2, (0.1, 0.2, 0.79))
    assert (clicks_to(reaching, 0.8), clicks_to(never, 0.8)) == (2, None)
    (group,) = summarise([reaching, never], {"a": "manual"})
    assert (group.reaches[0].clicks.mean, group.reaches[0].never) == (2.5, 0.5)
    assert [round(e.mean, 3) for e in group.curve] == [0.3, 0.525, 0.745]


def test_markdown_has_rows_marks_and_provenance(report):
    text = report.to_markdown()
    assert "| fluorescence | 2 | 8 | 1.000 [1.00, 1.00] |" in text
    assert "| phase-contrast (other) † |" in text
    assert "- pass: fluorescence, 1 click at least 0.81: 1.000" in text
    assert "- pack version: 7" in text
    tables = [part.splitlines() for part in text.split("\n\n") if part.startswith("|")]
    assert len(tables) == 7
    for table in tables:
        assert len({line.count("|") for line in table}) == 1


def test_json_has_every_object(report):
    content = json.loads(report.to_json())
    assert content["format_version"] == 2
    about = content["provenance"]["model"]
    assert (about["pack"], about["pack version"]) == ("toy", 7)
    results = content["results"]["model"]["interactive"]
    assert len(results) == 12
    assert results[0]["clicks"] == [1] * 11
    assert content["params"]["least_area"] == 20
    assert len(content["classical"]["interactive"]) == 12


def test_progress_counts_images_of_each_who_answers(pack):
    reports, _ = run(evaluate_pack(PerfectPredictor(discs()), pack))
    assert [r.done for r in reports] == [0, 1, 2, 3, 3, 4, 5, 6]
    assert {r.total for r in reports} == {6}


def test_images_and_data_sets_can_be_limited(pack):
    model = PerfectPredictor(discs())
    _, one_each = run(evaluate_pack(model, pack, EvaluationParams(images_per_group=1)))
    assert [group.n_images for group in groups_of(one_each)] == [1, 1]
    _, only = run(evaluate_pack(model, pack, datasets=("OTHER",)))
    assert [group.name for group in groups_of(only)] == ["phase-contrast (other)"]
    with pytest.raises(ImageError, match="no labelled image"):
        run(evaluate_pack(model, pack, datasets=("nothing",)))


def test_models_stand_side_by_side(pack):
    source = open_images(pack).only(("dsb",))
    models = {"good": PerfectPredictor(discs()), "bad": PerfectPredictor(discs(), 3)}
    contenders = [Contender(name, lambda m=m: m, {"model": name}) for name, m in models.items()]
    _, report = run(evaluate_images(contenders, source, EvaluationParams(walker_objects=0)))
    text = report.to_markdown()
    assert "| fluorescence | good | 2 | 8 | 1.000" in text
    assert "| fluorescence | bad | 2 | 8 | 0." in text
    assert "### Bars, good" in text
    assert "- model: bad" in text


class Dying(PerfectPredictor):
    """Is killed at its n-th image."""

    def __init__(self, labels, last):
        super().__init__(labels)
        self.left = last

    def encode(self, image, *, intensity="percentile"):
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt
        return super().encode(image, intensity=intensity)


def kept(model, pack, folder, **about):
    source = open_images(pack)
    params = EvaluationParams(protocols=(Protocol.INTERACTIVE,), walker_objects=3)
    contender = Contender("fake", lambda: model, about)
    return run(evaluate_images([contender], source, params, folder=folder))[1]


def without_date(report):
    return [line for line in report.to_markdown().splitlines() if "date:" not in line]


def test_an_evaluation_that_was_killed_goes_on_with_the_same_report(pack, tmp_path):
    whole = kept(PerfectPredictor(discs()), pack, tmp_path / "whole")
    folder = tmp_path / "parts"
    with pytest.raises(KeyboardInterrupt):
        kept(Dying(discs(), 2), pack, folder)
    path = folder / "fake" / "interactive.jsonl"
    path.write_bytes(path.read_bytes()[:-30])  # the kill came while a line was written
    with pytest.raises(KeyboardInterrupt):
        kept(Dying(discs(), 1), pack, folder)
    last = Dying(discs(), 1)
    assert without_date(kept(last, pack, folder)) == without_date(whole)
    assert last.left == 0
    assert without_date(kept(Dying(discs(), 0), pack, folder)) == without_date(whole)


def test_an_image_that_has_changed_is_asked_anew(pack, tmp_path):
    kept(PerfectPredictor(discs()), pack, tmp_path / "r")
    path = pack / "other/c.png"
    with Image.open(path) as picture:
        grey = np.array(picture)
    Image.fromarray(255 - grey).save(path)
    again = Dying(discs(), 1)
    kept(again, pack, tmp_path / "r")
    assert again.left == 0


def test_results_of_other_weights_are_refused(pack, tmp_path):
    kept(PerfectPredictor(discs()), pack, tmp_path / "r", sha="a")
    with pytest.raises(StoreMismatchError, match="sha = 'a', now it is 'b'"):
        kept(PerfectPredictor(discs()), pack, tmp_path / "r", sha="b")


def test_a_folder_without_images_is_refused(tmp_path):
    with pytest.raises(ImageError, match="no labelled images"):
        run(evaluate_pack(PerfectPredictor(discs()), tmp_path))


def test_pictures_show_worst_cases_first(pack, report, tmp_path):
    source, results = open_images(pack), report.of(Protocol.INTERACTIVE)
    _, sheets = run(draw_sheets(PerfectPredictor(discs()), source, results, worst=2))
    files = write_sheets(sheets, tmp_path / "out")
    assert len(files) == 6  # two groups, three prompts
    with Image.open(files[0]) as picture:
        assert picture.size[0] > 400
    results = [ObjectResult("g", f"{i // 4}", i, 50, (i / 20,), 1, 1, (1,), 1) for i in range(20)]
    chosen = choose_cases(results[::-1], "click", worst=3, median=2)
    assert [r.label for r in chosen[:3]] == [0, 1, 4]  # two of the first image, then the next
    assert {r.label for r in chosen[3:]} <= {8, 9, 10, 11, 12}
    page = render_page(report, sheets)
    assert page.count("data:image/jpeg;base64,") == 6
    assert page.count("<polyline") == 2
    assert "phase-contrast (other) †" in page
    assert "http" not in page.replace("http://www.w3.org/2000/svg", "")  # needs no other file


def test_a_card_gets_new_figures_of_what_was_evaluated_and_nothing_else(tmp_path):
    card = tmp_path / "card.md"
    both = [f"before\n{start('interactive')}\nold \\1\n{END}\nbetween",
            f"{start('automatic')}\nold\n{END}\nafter\n"]  # fmt: skip
    card.write_text("\n".join(both))
    assert regions_of(card) == ("interactive", "automatic")
    replace_figures(card, {"automatic": "new \\1 figures\n"})
    both[1] = f"{start('automatic')}\n\nnew \\1 figures\n\n{END}\nafter\n"
    assert card.read_text() == "\n".join(both)
    with pytest.raises(NapariSamError, match="no place for the figures of 'edges'"):
        replace_figures(card, {"edges": "x"})
    card.write_text("no marks")
    with pytest.raises(NapariSamError, match="one region for each protocol"):
        regions_of(card)
    with pytest.raises(NapariSamError, match="cannot be read"):
        regions_of(tmp_path / "missing.md")


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
    """Only images all of whose objects are labelled are matched; proposals are for all."""
    manifest = json.loads((pack / "manifest.json").read_text())
    manifest["items"][2]["sparse_annotation"] = True
    (pack / "manifest.json").write_text(json.dumps(manifest))
    params = EvaluationParams(protocols=(Protocol.AUTOMATIC,))
    report = run(evaluate_pack(PerfectPredictor(discs(), score=0.97), pack, params))[1]
    (section,) = report.sections
    table, proposals = section.blocks[0], section.blocks[2].blocks[0]
    assert [row[:4] for row in table.rows] == [("fluorescence", "2", "8", "1.000 [1.00, 1.00]")]
    assert set(table.rows[0][4:11]) == {"1.000"}
    assert [row[0] for row in proposals.rows] == ["fluorescence", "phase-contrast (other)"]
    assert proposals.rows[1][3:5] == ("1.000", "1.000 (4)")
    markdown = report.to_markdown()
    assert "pass: fluorescence, F1@0.5 at least 0.80: 1.000" in markdown
    assert "Mean IoU over objects" not in markdown
    assert json.loads(report.to_json())["results"]["model"].keys() == {"automatic"}


def test_several_protocols_in_one_report(pack):
    two = (Protocol.INTERACTIVE, Protocol.AUTOMATIC)
    params = EvaluationParams(protocols=two, walker_objects=0, clicks=1)
    report = run(evaluate_pack(PerfectPredictor(discs()), pack, params))[1]
    assert [section.name for section in report.sections] == list(two)
