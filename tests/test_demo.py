"""The demo: the shipped image, the bundled model, honest clicks, no network."""

import socket
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from napari_sam import _demo
from napari_sam._cli import app
from napari_sam._demo import can_open_window, find_spots, mean_best_iou
from napari_sam._image_files import read_plane
from napari_sam._sample_data import SAMPLES


@pytest.fixture
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the demo must not use the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.mark.usefixtures("_no_network")
def test_the_demo_writes_labels_an_overlay_and_a_screenful(tmp_path: Path) -> None:
    arguments = ["demo", "--out", str(tmp_path / "out"), "--no-window"]
    result = CliRunner().invoke(app, arguments, env={"COLUMNS": "100"})
    assert result.exit_code == 0, result.output
    assert len(result.stdout.splitlines()) <= 24
    labels, overlay = (read_plane(tmp_path / "out" / n) for n in ("labels.tif", "overlay.png"))
    truth = SAMPLES[_demo.SAMPLE].read_labels()
    quality = mean_best_iou(labels, truth)
    assert quality > 0.75
    assert f"{quality:.3f}" in result.stdout
    assert overlay.shape == (*truth.shape, 3)
    again = CliRunner().invoke(app, arguments)
    assert again.exit_code == 7
    assert "--force" in again.stderr
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["labels.tif", "overlay.png"]


def test_clicks_are_made_from_the_picture_alone() -> None:
    sample = SAMPLES[_demo.SAMPLE]
    truth = sample.read_labels()
    clicked = [truth[int(y), int(x)] for y, x in find_spots(sample.read_image())]
    assert len(set(clicked) - {0}) >= 0.95 * truth.max()
    assert len(clicked) <= 1.05 * truth.max()


def test_mean_best_iou() -> None:
    truth = np.zeros((4, 8), int)
    truth[:, :2], truth[:, 4:6] = 1, 2
    assert mean_best_iou(truth, truth) == 1
    assert mean_best_iou(truth * 0, truth) == 0
    half = np.where(truth == 1, 7, 0)
    half[2:] = 0
    assert mean_best_iou(half, truth) == pytest.approx(0.25)


@pytest.mark.parametrize(("variable", "expected"), [(None, False), ("DISPLAY", True)])
def test_a_window_needs_a_display(
    variable: str | None, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("napari")
    monkeypatch.setattr(_demo.sys, "platform", "linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    if variable:
        monkeypatch.setenv(variable, ":7")
    assert can_open_window() is expected
