"""Images of any size and number of channels pass through every path, with the bundled model."""

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from typer.testing import CliRunner

from napari_sam import Predictor, Prompts, load_predictor, segment_everything
from napari_sam._cli import app

EASY = {"points_per_side": 2, "pred_iou_thresh": 0.0, "stability_score_thresh": 0.0}


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return load_predictor("tiny", device="cpu")


def discs(shape: tuple[int, int], channels: int) -> NDArray[np.uint16]:
    """Two bright discs, at a quarter and three quarters of both axes."""
    image = np.full((*shape, channels), 100, np.uint16)
    radius = max(2, min(shape) // 8)
    for quarter in (1, 3):
        y, x = shape[0] * quarter // 4, shape[1] * quarter // 4
        rows, columns = slice(max(0, y - radius), y + radius), slice(max(0, x - radius), x + radius)
        yy, xx = np.ogrid[rows, columns]
        image[rows, columns][(yy - y) ** 2 + (xx - x) ** 2 <= radius**2] = 3000
    return image[..., 0] if channels == 1 else image


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("shape", [(64, 64), (64, 700), (1500, 90)])
def test_click_and_everything(predictor: Predictor, shape: tuple[int, int], channels: int) -> None:
    image = discs(shape, channels)
    embedding = predictor.encode(image)
    click = Prompts(points=[[[shape[0] // 4, shape[1] // 4]]], point_labels=[[1]])
    mask = predictor.decode(embedding, click).mask(0)
    assert mask.shape == shape
    assert mask[shape[0] // 4, shape[1] // 4]
    for record in segment_everything(image, predictor, **EASY):
        assert record.shape == shape and record.area > 0


def test_a_very_large_plane(predictor: Predictor) -> None:
    image = discs((8192, 8192), 1)
    embedding = predictor.encode(image)
    click = Prompts(points=[[[2048, 2048]]], point_labels=[[1]])
    prediction = predictor.decode(embedding, click)
    patch, region = prediction.patch(0)
    disc = np.pi * 1024**2
    assert 0.8 * disc < patch.sum() < 1.2 * disc
    assert region[0].start <= 2048 < region[0].stop and region[1].start <= 2048 < region[1].stop
    records = segment_everything(image, predictor, **EASY)
    assert records and all(record.shape == image.shape for record in records)


@pytest.mark.parametrize(("shape", "channels"), [((64, 64), 1), ((64, 300), 5)])
def test_the_commands(tmp_path, shape: tuple[int, int], channels: int) -> None:
    source = tmp_path / "image.tif"
    image = discs(shape, channels)
    axes = {"axes": "YX"} if channels == 1 else {"axes": "YXC"}
    tifffile.imwrite(source, image, metadata=axes, photometric="minisblack")
    point = f"{shape[0] // 4},{shape[1] // 4}"
    easy = ["--points-per-side", "2", "--pred-iou-thresh", "0", "--stability-score-thresh", "0"]
    for name, arguments in (("segment", ["-p", point]), ("auto", easy)):
        target = tmp_path / f"{name}.tif"
        result = CliRunner().invoke(app, [name, str(source), "-o", str(target), *arguments])
        assert result.exit_code == 0, result.output
        labels = tifffile.imread(target)
        assert labels.shape == shape and labels.max() >= 1
