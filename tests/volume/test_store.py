import errno
from pathlib import Path

import numpy as np
import pytest
import zarr.storage._local as local

from napari_sam.errors import StoreError, StoreIncompleteError, StoreMismatchError
from napari_sam.progress import Progress
from napari_sam.volume.manifest import ArraySpec, Manifest
from napari_sam.volume.store import TileStore
from napari_sam.volume.tiles import TileGrid

GRID = TileGrid((1, 2, 32, 48), 16, 4)


def manifest(**changes: object) -> Manifest:
    values = {
        "kind": "embeddings",
        "model": {"name": "fake", "weights_sha256": "abc"},
        "image": {"shape": [2, 32, 48], "dtype": "|u1"},
        "grid": GRID,
        "intensity": {"ranges": [[0.0, 1.5]]},
        "arrays": (ArraySpec("a", (2, 5), "float16"), ArraySpec("b", (7,), "bfloat16")),
    }
    return Manifest(**(values | changes))  # type: ignore[arg-type]


def result(seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {"a": rng.normal(size=(2, 5)), "b": rng.normal(size=7)}


def last(job) -> object:
    while True:
        try:
            assert isinstance(next(job), Progress)
        except StopIteration as end:
            return end.value


def test_what_is_written_is_read_in_half_the_bits(tmp_path: Path) -> None:
    store = TileStore.create(tmp_path / "s", manifest())
    assert len(store) == 12
    assert not store.done().any()
    store.write(3, result(3))
    again = TileStore.open(tmp_path / "s")
    assert np.flatnonzero(again.done()).tolist() == [3]
    np.testing.assert_allclose(again.read(3)["a"], result(3)["a"], rtol=1e-3)
    np.testing.assert_allclose(again.read(3)["b"], result(3)["b"], rtol=4e-3)
    with pytest.raises(StoreIncompleteError, match=r"tile t0 z0 y0 x1 is missing"):
        again.read(1)
    with pytest.raises(StoreIncompleteError, match=r"11 of 12 tiles are missing"):
        again.require_complete()


def test_bfloat16_rounds_to_the_nearest_as_torch_does(tmp_path: Path) -> None:
    import torch

    store = TileStore.create(tmp_path / "s", manifest())
    values = np.array([1.00390625, -3.3e38, 1e-40, 0.1, 7.0, -0.0, 1.01171875], np.float32)
    store.write(0, result(0) | {"b": values})
    expected = torch.from_numpy(values).bfloat16().float().numpy()
    np.testing.assert_array_equal(store.read(0)["b"], expected)


def test_a_tile_of_zeros_is_done_and_a_chunk_without_a_flag_is_not(tmp_path: Path) -> None:
    store = TileStore.create(tmp_path / "s", manifest())
    store.write(0, {"a": np.zeros((2, 5)), "b": np.zeros(7)})
    assert store.is_done(0)
    assert last(store.verify()) == {}
    store._zarrs["a"][1] = 1.0  # as if the process had ended before the flag
    assert not store.is_done(1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"grid": TileGrid((1, 2, 32, 48), 16, 5)}, "grid.halo = 4, now grid.halo = 5"),
        ({"model": {"name": "fake", "weights_sha256": "d"}}, "model.weights_sha256 = 'abc', now"),
        ({"intensity": {"ranges": [[0.0, 2.0]]}}, r"intensity.ranges = \[\[0.0, 1.5\]\], now"),
        ({"image": {"shape": [2, 32, 48], "dtype": "<u2"}}, r"image.dtype = '\|u1', now"),
        ({"kind": "labels"}, "kind = 'embeddings', now kind = 'labels'"),
        ({"params": {"new": 1}}, "params.new = None, now params.new = 1"),
    ],
)
def test_another_manifest_is_refused_by_name(
    tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    TileStore.create(tmp_path / "s", manifest())
    with pytest.raises(StoreMismatchError, match=message):
        TileStore.create(tmp_path / "s", manifest(**changes))


def test_notes_are_not_compared(tmp_path: Path) -> None:
    TileStore.create(tmp_path / "s", manifest(notes={"path": "here"}))
    assert TileStore.create(tmp_path / "s", manifest()).manifest.notes == {"path": "here"}


def test_what_is_no_store_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "thesis.txt").write_text("mine")
    with pytest.raises(StoreError, match="is no store of tiles"):
        TileStore.create(tmp_path / "s", manifest())
    with pytest.raises(StoreError, match="there is no store"):
        TileStore.open(tmp_path / "none")


def test_verify_finds_torn_lost_and_foreign_chunks_and_repairs(tmp_path: Path) -> None:
    store = TileStore.create(tmp_path / "s", manifest())
    for index in range(4):
        store.write(index, result(index))
    (tmp_path / "s" / "a" / "c.0.0.0").write_bytes(b"torn")
    (tmp_path / "s" / "b" / "c.1.0").unlink()
    store._zarrs["b"][2] = 5
    damaged = last(store.verify())
    assert sorted(damaged) == [0, 1, 2]
    assert "cannot be read" in damaged[0]
    assert last(store.verify(repair=True)) == damaged
    assert np.flatnonzero(store.done()).tolist() == [3]


def test_a_half_written_manifest_is_no_manifest(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "zarr.123.partial").write_text("{")
    assert len(TileStore.create(tmp_path / "s", manifest())) == 12


def test_failures_are_remembered_until_the_tile_is_done(tmp_path: Path) -> None:
    store = TileStore.create(tmp_path / "s", manifest())
    store.fail(2, "the chunk is torn")
    assert store.failures() == {2: "the chunk is torn"}
    with pytest.raises(StoreIncompleteError, match="The first failure: the chunk is torn"):
        store.require_complete()
    store.write(2, result(2))
    assert store.failures() == {}


def test_a_full_disk_stops_cleanly_at_any_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put, space = local._put, 0

    def full(*args: object, **kwargs: object) -> int:
        nonlocal space
        space -= 1
        if space < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return put(*args, **kwargs)

    monkeypatch.setattr(local, "_put", full)
    stops = 0
    for room in range(20):
        space = room
        try:
            store = TileStore.create(tmp_path / "s", manifest())
            for index in range(2):
                if not store.is_done(index):
                    store.write(index, result(index))
            break
        except StoreError as error:
            stops += "the disk is full" in str(error)
    assert stops == room > 3
    assert last(store.verify()) == {}
    assert store.done()[:2].all()
