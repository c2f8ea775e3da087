from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tifffile
from typer.testing import CliRunner

from napari_sam._cli import app
from napari_sam._cli_models import Engine
from napari_sam.volume.image import ImageRef
from napari_sam.volume.ome import LabelImage
from napari_sam.volume.sources import forget_sources
from napari_sam.volume.work import SegmentWork
from tests.volume.fakes import Greys, cells
from tests.volume.images import write_ome_zarr
from tests.volume.test_pipelines import same_objects

FAST = ["--tile", "48", "--halo", "16", "--points-per-side", "20", "--intensity", "as_is"]
CUT = ["--tile", "48", "--halo", "16", "--intensity", "as_is"]


@pytest.fixture(autouse=True)
def _fake_model(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(Engine, "choice", lambda engine: Greys("tiny"))
    yield
    forget_sources()


def run(*arguments: object, code: int = 0) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    return result.output


def test_a_volume_from_the_command_line_and_back(tmp_path: Path) -> None:
    data, truth = cells((3, 90, 100))
    path = write_ome_zarr(tmp_path / "a.zarr", data, "zyx")
    text = run("segment-volume", path, "--name", "cells", *FAST)
    labels = ImageRef.open(path / "labels" / "cells")
    found = np.stack([labels.read((0, z)) for z in range(3)])
    assert same_objects(found, truth)
    assert f"{found.max()} objects in {path / 'labels' / 'cells'}" in text
    assert "labels are complete" in run("segment-volume", path, "--name", "cells", *FAST)
    assert (path / "labels" / "cells" / "0" / "zarr.json").is_file()
    shown = run("status", path)
    assert shown.split("\n")[1].split()[:5] == ["tiles-cells", "tiny", "12", "0", "0"]
    assert "12 tiles, 0 damaged" in run("verify", path)
    run("stitch", path, "--name", "cells", "--to", "apart", "--planes-apart")
    apart = ImageRef.open(path / "labels" / "apart")
    assert not set(np.unique(apart.read((0, 0)))) & set(np.unique(apart.read((0, 1)))) - {0}


def test_other_files_need_a_place_for_labels(tmp_path: Path) -> None:
    data, truth = cells((2, 90, 100))
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, data, metadata={"axes": "ZYX"})
    assert "--output" in run("segment-volume", path, "--name", "cells", *FAST, code=2)
    run("segment-volume", path, "--name", "cells", "-o", tmp_path / "out.zarr", *FAST)
    labels = ImageRef.open(tmp_path / "out.zarr" / "labels" / "cells")
    assert same_objects(np.stack([labels.read((0, z)) for z in range(2)]), truth)
    there = "s3://bucket/out.zarr"
    assert "aws s3 sync" in run("segment-volume", path, "--name", "a", "-o", there, *FAST, code=2)
    assert "aws s3 sync" in run("embed", path, "--work", there, *CUT, code=2)
    assert not Path("s3:").exists()


def test_embeddings_are_kept_counted_and_repaired(tmp_path: Path) -> None:
    path = write_ome_zarr(tmp_path / "a.zarr", cells((2, 90, 100))[0], "zyx")
    assert "8 tiles in" in run("embed", path, *CUT)
    store = tmp_path / "a.zarr.napari-sam" / "embeddings-tiny"
    chunk = store / "features" / "c.3.0.0.0"
    chunk.write_bytes(b"torn")
    assert "1 tiles are damaged: run this with --repair" in run("verify", path, code=8)
    run("verify", path, "--repair", code=8)
    assert run("status", path).split("\n")[1].split()[2:4] == ["7", "1"]
    assert "8 tiles in" in run("embed", path, *CUT)
    run("verify", path)
    run("segment-volume", path, "--name", "cells", "--embeddings", *FAST)


def test_tiles_are_made_by_workers_elsewhere(tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed")
    data, truth = cells((2, 90, 100))
    path = write_ome_zarr(tmp_path / "a.zarr", data, "zyx")
    with distributed.LocalCluster(
        n_workers=1,
        processes=False,
        dashboard_address="127.0.0.1:0",
        scheduler_kwargs={"dashboard": False},
    ) as cluster:
        where = ("--scheduler", cluster.scheduler_address)
        assert "8 tiles in" in run("embed", path, *CUT, *where)
        run("segment-volume", path, "--name", "cells", *FAST, *where)
        run("stitch", path, "--name", "cells", "--to", "apart", "--planes-apart", *where)
    labels = ImageRef.open(path / "labels" / "cells")
    assert same_objects(np.stack([labels.read((0, z)) for z in range(2)]), truth)
    assert (path / "labels" / "apart" / "0" / "zarr.json").is_file()
    assert "take either" in run("embed", path, "--workers", "2", "--scheduler", "tcp://a:1", code=2)


@pytest.mark.parametrize("stage", ["tiles", "labels"])
def test_ctrl_c_says_how_much_is_done_and_the_same_command_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    data, truth = cells((2, 90, 100))
    path = write_ome_zarr(tmp_path / "a.zarr", data, "zyx")
    place, name = {
        "tiles": (SegmentWork, "__call__"), "labels": (LabelImage, "write"),
    }[stage]  # fmt: skip
    real, calls = getattr(place, name), []

    def stopped(*given: object) -> object:
        calls.append(given)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return real(*given)

    monkeypatch.setattr(place, name, stopped)
    text = run("segment-volume", path, "--name", "cells", *FAST, code=130)
    said = {"tiles": "3 of 8 tiles are done.", "labels": "13 of 18 steps of stitching are done."}
    assert said[stage] in text and "the same command goes on from there" in text
    assert run("status", path).split("\n")[1].split()[2] == {"tiles": "3", "labels": "8"}[stage]
    run("segment-volume", path, "--name", "cells", *FAST)
    assert len(calls) == {"tiles": 4 + 5, "labels": 4 + 8}[stage]
    labels = ImageRef.open(path / "labels" / "cells")
    assert same_objects(np.stack([labels.read((0, z)) for z in range(2)]), truth)


def test_mistakes_end_with_the_known_codes(tmp_path: Path) -> None:
    data = cells((2, 90, 100))[0]
    path = write_ome_zarr(tmp_path / "a.zarr", data, "zyx")
    run("embed", tmp_path / "none.zarr", code=3)
    run("embed", path, "--axes", "zy", code=3)
    run("embed", path, "--dtype", "int3", code=2)
    run("segment-volume", path, "--name", "../x", *FAST, code=8)
    run("segment-volume", path, "--name", "x", "--link-iou", "2", *FAST, code=4)
    assert "run embed or segment-volume first" in run("status", path, code=8)
    run("stitch", path, "--name", "none", code=8)
    run("embed", path, *CUT)
    assert "grid.halo = 16, now grid.halo = 8" in run("embed", path, *CUT, "--halo", "8", code=8)


def test_only_what_a_file_names(tmp_path: Path) -> None:
    data, truth = cells((2, 90, 100))
    path = write_ome_zarr(tmp_path / "a.zarr", data, "zyx")
    y, x = np.argwhere(truth[1] == truth[1].max())[0]
    found = tmp_path / "found.csv"
    found.write_text(f"z,y,x\n1,{y},{x}\n")
    run("segment-volume", path, "--name", "one", *CUT, "--prompts", found)
    labels = ImageRef.open(path / "labels" / "one")
    np.testing.assert_array_equal(labels.read((0, 1)) > 0, truth[1] == truth[1].max())
    assert not labels.read((0, 0)).any()
    found.write_text("z,y\n1,2\n")
    bad = ("segment-volume", path, "--name", "two", *CUT, "--prompts", found)
    assert "found.csv, line 1: the columns are z, y" in run(*bad, code=4)
