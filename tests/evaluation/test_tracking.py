import json
from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_sam.evaluation import tracking
from napari_sam.evaluation.moving_cells import draw_cells
from napari_sam.progress import finish
from napari_sam.tracking.lineage import Lineage
from napari_sam.tracking.pipeline import TrackParams, track_labels
from napari_sam.tracking.proposal import Proposal
from napari_sam.tracking.series import LabelSeries
from tests.tracking.drawn import division


def found(labels: np.ndarray, **settings: object) -> Proposal:
    series = LabelSeries.open(labels, axes="tyx")
    return finish(track_labels(series, TrackParams(**settings)))  # type: ignore[arg-type]


def truth(labels: np.ndarray, graph: dict[int, list[int]]) -> Lineage:
    scan = found(labels).scan
    kinds = {"shape": scan.shape, "spacing": scan.spacing}
    return Lineage.of_tracks(scan.objects, scan.objects.label, graph, **kinds)


def test_what_is_right_counts_whatever_the_numbers_are() -> None:
    labels = division()
    true = truth(labels, {3: [2], 4: [2]})
    proposal = found(tracking.shuffled(labels))
    right = tracking.judge(true, proposal.accept(0.3))
    assert (right.precision, right.recall, right.division_f1) == (1, 1, 1)
    assert (right.true, right.divided) == (17 + 2, 1)
    refused = tracking.judge(true, proposal.decide())
    assert refused.division_f1 == 0
    assert (refused.true - refused.right, refused.found - refused.right) == (1, 0)


def test_a_swap_is_two_wrong_links() -> None:
    labels = np.zeros((2, 10, 20), np.uint16)
    labels[:, 2:5, 2:5], labels[:, 2:5, 12:15] = 1, 2
    swapped = labels.copy()
    swapped[1][labels[1] == 1], swapped[1][labels[1] == 2] = 2, 1
    figures = tracking.judge(truth(labels, {}), truth(swapped, {}))
    assert (figures.precision, figures.recall) == (0, 0)


def test_drawn_cells_divide_and_hardly_move() -> None:
    drawn = draw_cells(0.05, cells=10, frames=8, seed=1)
    true = truth(drawn.labels, drawn.graph)
    assert true.divisions
    figures = tracking.judge(true, found(tracking.shuffled(drawn.labels)).accept())
    assert figures.recall > 0.95


def test_the_command_prints_a_line_for_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tracking, "WANDER", ())
    tifffile.imwrite(tmp_path / "l.tif", division())
    one = {"id": "a/b", "label": "l.tif", "label_kind": "instance+tracks", "label_axes": "TYX"}
    others = [one | {"label": "gone"}, one | {"label_kind": "instance"}]
    (tmp_path / "manifest.json").write_text(json.dumps({"items": [one, *others]}))
    tracking.main([str(tmp_path)])
    _, _, *lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(tracking.METHODS) * len(tracking.STEPS)
    assert lines[0] == "| a/b | 6 | 23 | overlap | 17 | 0.9444 | 1.0000 | - | - |"
