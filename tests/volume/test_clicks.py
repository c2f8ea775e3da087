"""Clicks in tiles: which tile is asked, what is looked at again, and that nothing is cut."""

import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from skimage.draw import disk
from skimage.transform import resize

from napari_sam.core.interrupt import Interrupted, interruptible
from napari_sam.core.params import AutomaticParams
from napari_sam.core.predictor import ImageEmbedding
from napari_sam.core.prompts import Prompts
from napari_sam.core.strokes import Sketch
from napari_sam.errors import PromptError
from napari_sam.progress import finish
from napari_sam.volume.clicks import solve
from napari_sam.volume.crops import Extent, central_tile, crop_around, extent_of, is_cut
from napari_sam.volume.embedder import Embedder, as_size
from napari_sam.volume.image import ImageRef
from napari_sam.volume.intensity import VolumeIntensity
from napari_sam.volume.part import segment_part
from napari_sam.volume.pipelines import VolumeJob, open_segmentation, segment_volume
from napari_sam.volume.reduced import read_reduced
from napari_sam.volume.store import TileStore
from napari_sam.volume.tiles import TileGrid
from tests.volume.fakes import Greys, cells
from tests.volume.images import write_ome_zarr

GRID = TileGrid((1, 2, 400, 600), 100, 20)


class Counting(Greys):
    """Remembers the sizes of what it has looked at."""

    def __init__(self) -> None:
        super().__init__()
        object.__setattr__(self, "seen", [])

    def encode(self, image: np.ndarray, *, intensity: str = "percentile") -> ImageEmbedding:
        self.seen.append(image.shape[:2])
        return super().encode(image, intensity=intensity)


def drawn(*discs: tuple[int, int, int]) -> np.ndarray:
    """(2, 400, 600) uint8 with discs (y, x, radius), each of its own grey, on plane 1."""
    data = np.zeros((2, 400, 600), np.uint8)
    for number, (y, x, radius) in enumerate(discs):
        data[(1, *disk((y, x), radius, shape=data.shape[1:]))] = 50 + 40 * number
    return data


class Working(Greys):
    """Takes many steps to look at a picture."""

    def encode(self, image: np.ndarray, *, intensity: str = "percentile") -> ImageEmbedding:
        import torch

        for step in range(100):
            torch.add(torch.ones(3), step)
        return super().encode(image, intensity=intensity)


def embedder(data: object, store: Path | None = None, **options: object) -> Embedder:
    image = ImageRef.open(data)
    intensity = VolumeIntensity.measure(image, "as_is")
    job = VolumeJob(image, intensity, options.pop("model", Greys()), 100, 20)
    return Embedder(job, store, **options)


def click(*points: tuple[float, float]) -> Prompts:
    return Prompts(points=[[p] for p in points], point_labels=[[1]] * len(points))


def on_plane(answer: object, size: tuple[int, int] = (400, 600)) -> np.ndarray:
    mask = np.zeros(size, bool)
    patch, region = answer.patch()
    mask[region] = patch
    return mask


@pytest.mark.parametrize(
    ("point", "cell"),
    [
        ((150, 150), (1, 1)),
        ((199, 250), (1, 2)),
        ((201, 250), (2, 2)),
        ((0, 0), (0, 0)),
        ((399, 599), (3, 5)),
    ],
)
def test_the_tile_that_has_the_prompt_in_its_middle_is_asked(
    point: tuple[float, float], cell: tuple[int, int]
) -> None:
    tile = central_tile(GRID, (0, 1), extent_of(click(point), 0))
    assert tile is not None and tile.plane == (0, 1) and tile.cell == tuple(
        min(c, n - 1) for c, n in zip(cell, GRID.cells, strict=True)
    )  # fmt: skip


def test_a_prompt_across_tiles_is_asked_in_a_crop_around_it() -> None:
    wide = Extent(150, 140, 160, 260)
    assert central_tile(GRID, (0, 0), wide) is None
    rows, columns = crop_around(wide, GRID.read_size, (400, 600))
    assert columns.stop - columns.start == 280 and rows.stop - rows.start == 280
    assert abs((columns.start + columns.stop) / 2 - 200) <= 35
    assert rows.start >= 0 and rows.stop <= 400


def test_a_prompt_that_is_larger_than_can_be_looked_at_is_refused_with_what_to_do() -> None:
    with pytest.raises(PromptError, match="coarser level"):
        crop_around(Extent(0, 0, 39_000, 39_000), (1024, 1024), (40_000, 40_000))


def test_a_mask_at_the_border_of_the_plane_is_not_cut() -> None:
    seen = (slice(0, 140), slice(80, 220))
    assert not is_cut((slice(0, 20), slice(100, 120)), seen, (400, 600))
    assert is_cut((slice(10, 20), slice(80, 120)), seen, (400, 600))
    assert is_cut((slice(10, 140), slice(100, 120)), seen, (400, 600))


def test_objects_across_seams_are_whole_and_others_take_one_look() -> None:
    data = drawn((150, 200, 45), (150, 350, 20), (300, 300, 90))
    model = Counting()
    made = embedder(data, model=model)
    for (y, x), looks in (((150, 350), 1), ((150, 200), 2), ((300, 240), 3)):
        model.seen.clear()
        answer = finish(solve(made, (0, 1), click((y, x)), multimask=True))[0]
        assert answer.whole
        mask, truth = on_plane(answer), data[1] == data[1, y, x]
        # What needs more than a tile is seen reduced.
        assert (mask & truth).sum() / (mask | truth).sum() > (0.95 if looks > 2 else 0.999)
        assert len(model.seen) == looks
    cut = finish(solve(made, (0, 1), click((150, 200)), multimask=True, again=False))[0]
    assert not cut.whole and on_plane(cut).sum() < (data[1] == data[1, 150, 200]).sum()


def test_several_objects_are_asked_where_each_lies() -> None:
    data = drawn((60, 60, 20), (150, 200, 45), (320, 540, 30))
    prompts = click((60, 60), (150, 200), (320, 540))
    answers = finish(solve(embedder(data), (0, 1), prompts, multimask=False))
    for answer, (y, x) in zip(answers, ((60, 60), (150, 200), (320, 540)), strict=True):
        assert (on_plane(answer) == (data[1] == data[1, y, x])).all()


def test_points_beside_the_tile_are_left_out_not_refused() -> None:
    data = drawn((60, 60, 20))
    prompts = Prompts(points=[[(60, 60), (390, 590)]], point_labels=[[1, 0]])
    answer = finish(solve(embedder(data), (0, 1), prompts, multimask=False))[0]
    assert on_plane(answer).sum() == (data[1] > 0).sum()


def test_a_coarse_level_answers_in_pixels_of_the_finest(tmp_path: Path) -> None:
    data = drawn((152, 208, 48))
    path = write_ome_zarr(tmp_path / "image.zarr", data, "zyx", levels=2)
    image = ImageRef.open(path, level=1)
    job = VolumeJob(image, VolumeIntensity.measure(image, "as_is"), Greys(), 100, 20)
    answer = finish(solve(Embedder(job), (0, 1), click((152, 208)), multimask=True, zoom=(2, 2)))[0]
    mask, truth = on_plane(answer), data[1] > 0
    assert (mask & truth).sum() / (mask | truth).sum() > 0.95


def test_embeddings_of_clicks_are_kept_for_the_next_day_and_for_automatic_work(
    tmp_path: Path,
) -> None:
    data, model = drawn((150, 350, 20)), Counting()
    finish(solve(embedder(data, tmp_path / "store", model=model), (0, 1), click((150, 350)),
                 multimask=True))  # fmt: skip
    assert TileStore.open(tmp_path / "store").done().sum() == 1
    model.seen.clear()
    tomorrow = embedder(data, tmp_path / "store", model=model)
    finish(solve(tomorrow, (0, 1), click((150, 350)), multimask=True))
    assert not model.seen
    assert tomorrow.done_on((0, 1)).sum() == 1 and not tomorrow.done_on((0, 0)).any()


class Pictured(Greys):
    """One that could look closer at small objects."""

    def encode(self, image: np.ndarray, *, intensity: str = "percentile") -> ImageEmbedding:
        return self.with_picture(super().encode(image, intensity=intensity), image)

    def with_picture(self, embedding: ImageEmbedding, picture: np.ndarray) -> ImageEmbedding:
        return replace(embedding, picture=np.asarray(picture))


def test_a_tile_just_looked_at_answers_as_one_from_the_store(tmp_path: Path) -> None:
    data, pictures = drawn((150, 350, 20)), []
    for path in (None, tmp_path / "store", tmp_path / "store"):  # in memory, made, read again
        plain = embedder(data, path, model=Pictured())
        tile = plain.grid.holding((0, 1), (150, 350))
        closer = embedder(data, path, model=Pictured(), closer=True)
        pictures.append(closer.tile(tile).picture)
        assert plain.tile(tile).picture is None  # no store keeps it
    for picture in pictures:
        np.testing.assert_array_equal(picture[..., 0], data[(1, *tile.read)])


def test_only_what_is_seen_in_its_own_pixels_is_looked_at_closer() -> None:
    closer = embedder(drawn((150, 350, 20)), model=Pictured(), closer=True)
    near = closer.crop((0, 1), (slice(100, 200), slice(300, 400)))
    far = closer.crop((0, 1), (slice(0, 400), slice(0, 600)))
    assert near.picture.shape == (100, 100, 3) and far.picture is None
    assert as_size(near, (100, 100)) is near and as_size(near, (200, 200)).picture is None


def test_memory_is_bounded_and_what_was_used_last_stays() -> None:
    made = embedder(drawn((150, 350, 20)), most_bytes=400_000)
    tiles = [made.grid.at((0, 1), (0, column)) for column in range(3)]
    for tile in (tiles[0], tiles[1], tiles[0], tiles[2]):
        made.tile(tile)
    assert made.nbytes <= 400_000
    assert [made.has(tile) for tile in tiles] == [True, False, True]


def test_two_threads_look_at_a_tile_once() -> None:
    model = Counting()
    made = embedder(drawn(), model=model)
    tile = made.grid.tile(0)
    threads = [threading.Thread(target=made.tile, args=(tile,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(model.seen) == 1


def test_work_ahead_is_given_up_in_the_middle_of_a_tile() -> None:
    made = embedder(drawn(), model=Working())
    asked = iter([False] * 20)
    with pytest.raises(Interrupted):
        made.tile(made.grid.tile(0), unwanted=lambda: next(asked, True))
    assert next(asked, None) is None
    assert not made.has(made.grid.tile(0))
    made.tile(made.grid.tile(0))  # and nothing is locked


def test_other_threads_are_not_interrupted() -> None:
    import torch

    done = []
    with interruptible(lambda: False):
        other = threading.Thread(target=lambda: done.append(torch.ones(3).sum().item()))
        other.start()
        other.join()
    assert done == [3.0]


@pytest.mark.parametrize("levels", [1, 3])
def test_an_overview_is_the_same_with_and_without_a_pyramid(tmp_path: Path, levels: int) -> None:
    y, x = np.indices((640, 700))
    data = (y // 4 + x // 8)[None].astype(np.uint16)
    path = write_ome_zarr(tmp_path / "image.zarr", data, "zyx", levels=levels)
    image = ImageRef.open(path)
    region = (slice(64, 640), slice(128, 700))
    reduced = read_reduced(image, (0, 0), region, 4)
    assert reduced.shape == (144, 143) and reduced.dtype == np.uint16
    np.testing.assert_allclose(reduced, data[0, 64:640:4, 128:700:4], atol=1)


def test_a_part_of_a_plane_is_stitched_as_the_whole_is_and_the_whole_goes_on_from_it(
    tmp_path: Path,
) -> None:
    data, truth = cells((2, 300, 260), count=60)
    made = embedder(data).job
    job = VolumeJob(made.image, made.intensity, Greys(), 48, 16)
    region = (slice(60, 220), slice(50, 240))
    options = {"params": AutomaticParams(points_per_side=24, pred_iou_thresh=0.5)}
    work, store = open_segmentation(job, tmp_path / "tiles", **options)
    _, labels = finish(segment_part(work, store, (0, 1), region))
    done = int(store.done().sum())
    assert 0 < done < len(store) / 2
    whole = finish(segment_volume(job, tmp_path / "tiles", **options))
    assert whole.done().all()
    expected = truth[1][region]
    edge = np.unique(np.concatenate([expected[[0, -1]].ravel(), expected[:, [0, -1]].ravel()]))
    kept = ~np.isin(expected, edge)
    assert ((labels > 0) == (expected > 0))[kept].all()
    pairs = np.unique(np.stack([labels[kept], expected[kept]]), axis=1)
    assert len(np.unique(pairs[0])) == len(np.unique(pairs[1])) == pairs.shape[1] > 5


def test_a_mask_prompt_follows_its_object_into_the_tile_and_the_crop() -> None:
    data = drawn((150, 200, 45))
    seen: list[np.ndarray] = []

    class Listening(Greys):
        def decode(self, embedding: ImageEmbedding, prompts: Prompts, **options: object) -> object:
            seen.append(prompts.mask_logits[0] > 0)
            return super().decode(embedding, prompts, **options)

    truth = data[1] > 0
    rows, columns = slice(105, 196), slice(155, 246)
    sketch = Sketch(mask=truth[rows, columns], offset=(105, 155))
    outline = Sketch(outline=np.array([(150, 180), (150, 220), (170, 200)], float))
    for one, middle in ((sketch, (150, 200)), (outline, (156, 200))):
        made = embedder(data, model=Listening())
        answer = finish(solve(made, (0, 1), click(middle), multimask=False, sketches=[one]))[0]
        region = answer.region
        whole = np.zeros(truth.shape, bool)
        size = tuple(side.stop - side.start for side in region)
        whole[region] = resize(seen[-1].astype(float), size, order=1) > 0.5  # the model's own grid
        if one is sketch:
            assert (whole & truth).sum() >= 0.95 * (whole | truth).sum()
        else:
            assert whole[155, 200] and not whole[150, 170] and 300 < whole.sum() < 500
        found = on_plane(answer)
        assert answer.whole and (found & truth).sum() >= 0.95 * (found | truth).sum()
