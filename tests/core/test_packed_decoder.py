"""The packed decoder gives the plain decoder's numbers, for every prompt and in both precisions."""

import copy
import gc
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache, partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from napari_sam.core import packed_click, packed_decoder, packed_vit
from napari_sam.core.modeling.common import EMPTY_LOGIT, EncodedImage
from napari_sam.core.modeling.sam import Sam, build_sam
from napari_sam.core.packed_decoder import PackedMaskDecoder, pack_mask_decoder
from napari_sam.core.predictor import Predictor
from napari_sam.core.prompts import Prompts
from napari_sam.core.registry import get_spec
from napari_sam.core.runtime import choose_runtime
from napari_sam.core.threads import with_helpers
from tests.golden.cases import SEED, VIT, prompt_cases
from tests.golden.seeded import seeded_tensor

GRIDS = [(8, 8), (5, 7), (1, 1)]


@cache
def plain_sam() -> Sam:
    sam = build_sam(VIT).eval().requires_grad_(False)
    for key, tensor in sam.state_dict().items():
        tensor.copy_(seeded_tensor(key, tuple(tensor.shape), SEED))
    return sam


def packed_sam(dtype: torch.dtype = torch.float32) -> Sam:
    sam = copy.deepcopy(plain_sam())
    pack_mask_decoder(sam, dtype=dtype)
    return sam


def image(grid: tuple[int, int] = (8, 8), seed: int = 0) -> EncodedImage:
    generator = torch.Generator().manual_seed(seed)
    return EncodedImage(torch.randn(1, VIT.out_chans, *grid, generator=generator))


def clicks(count: int) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(count)
    points = 100 * torch.rand(count, 1, 2, generator=generator)
    labels = torch.ones(count, 1, dtype=torch.long)
    return {"points": points, "labels": labels, "boxes": None, "mask": None}


def prompt_kinds(grid: tuple[int, int]) -> dict[str, dict[str, Any]]:
    """All golden prompt cases, with a mask that fits the grid, and two batches of clicks."""
    side = max(grid)
    kinds: dict[str, dict[str, Any]] = {"7 clicks": clicks(7), "64 clicks": clicks(64)}
    for case in prompt_cases(128, 4 * side, valid=(16 * grid[0], 16 * grid[1])):
        mask = None if case.mask is None else case.mask[..., : 4 * grid[0], : 4 * grid[1]]
        kinds[case.name] = {
            "points": case.points,
            "labels": case.labels,
            "boxes": case.boxes,
            "mask": mask,
        }
    masks = torch.randn(3, 1, 4 * grid[0], 4 * grid[1], generator=torch.Generator().manual_seed(5))
    kinds["3 clicks with masks"] = clicks(3) | {"mask": 5 * masks}
    return kinds


@torch.no_grad()
def decode(sam: Sam, encoded: EncodedImage, given: dict[str, Any], **more: Any) -> Any:
    return sam.decode(encoded, **given, **({"multimask": True} | more))


@pytest.mark.parametrize("multimask", [True, False])
@pytest.mark.parametrize("grid", GRIDS)
def test_same_answers_as_the_plain_decoder(grid: tuple[int, int], multimask: bool):
    packed, encoded = packed_sam(), image(grid)
    for name, given in prompt_kinds(grid).items():
        expected, expected_scores = decode(plain_sam(), encoded, given, multimask=multimask)
        got, scores = decode(packed, encoded, given, multimask=multimask)
        assert got.shape == expected.shape, name
        error = (got - expected).abs().max() / expected.std()
        assert error <= 1e-5, f"{name}: {error:.1e}"
        torch.testing.assert_close(scores, expected_scores, rtol=1e-5, atol=1e-5)


def test_bfloat16_is_near():
    packed, encoded = packed_sam(torch.bfloat16), image()
    kinds = prompt_kinds((8, 8)) | {"1 click": clicks(1)}
    for name, given in kinds.items():
        expected, expected_scores = decode(plain_sam(), encoded, given)
        got, scores = decode(packed, encoded, given)
        assert got.dtype == scores.dtype == torch.float32
        assert (got - expected).std() <= 0.02 * expected.std(), name
        assert ((got > 0) == (expected > 0)).float().mean() >= 0.99, name
        assert (scores - expected_scores).abs().max() <= 0.02, name


def test_without_the_private_operators_the_numbers_stay(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(packed_vit, "_packing_works", lambda dtype: False)
    expected, _ = decode(plain_sam(), image(), clicks(3))
    got, _ = decode(packed_sam(), image(), clicks(3))
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)


def test_slabs_and_pieces_that_do_not_divide(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(packed_decoder, "AT_ONCE", 3)
    monkeypatch.setattr("napari_sam.core.packed_masks.SLAB", 20)  # two of five rows of seven cells
    expected, _ = decode(plain_sam(), image((5, 7)), clicks(7))
    got, _ = decode(packed_sam(), image((5, 7)), clicks(7))
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)


def run_with(threads: int, jobs: Any, *, count: int) -> None:
    with_helpers(jobs, count=threads)


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("size", [1, 4, 11, 1024])
def test_a_click_in_slices_of_any_size_on_any_number_of_threads(
    size: int, threads: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(packed_click, "CELLS_AT_ONCE", size)
    monkeypatch.setattr(packed_decoder, "with_helpers", partial(run_with, threads))
    packed = packed_sam()
    for grid in ((5, 7), (1, 1)):
        for given in (clicks(1), clicks(1) | {"mask": torch.ones(1, 1, 4 * grid[0], 4 * grid[1])}):
            expected, expected_scores = decode(plain_sam(), image(grid), given)
            got, scores = decode(packed, image(grid), given)
            torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(scores, expected_scores, rtol=1e-4, atol=1e-5)


def test_a_softmax_over_slices_is_the_softmax():
    """Also where a slice's logits are so low that it counts nothing."""
    logits, cells = 30 * torch.randn(6, 50), torch.randn(50, 4)
    logits[:, 20:30] -= 1e4
    expected = logits.softmax(-1) @ cells
    found = []
    for part in (slice(0, 20), slice(20, 30), slice(30, 50)):
        weights = logits[:, part].clone()
        weight = packed_click.weigh_(weights)
        found.append(packed_click.Found(weights @ cells[part], weight))
    torch.testing.assert_close(packed_click.join(found), expected)
    torch.testing.assert_close(packed_click.join(found[:1]), found[0].mixed)


@pytest.mark.parametrize("kind", ["plain", "exact", "fast"])
@pytest.mark.parametrize("multimask", [True, False])
def test_least_score_only_empties_the_worse_candidates(kind: str, multimask: bool):
    dtype = torch.bfloat16 if kind == "fast" else torch.float32
    sam = plain_sam() if kind == "plain" else packed_sam(dtype)
    encoded, given = image(), clicks(7)
    full, scores = decode(sam, encoded, given, multimask=multimask)
    least = scores.median().item()
    got, same_scores = decode(sam, encoded, given, multimask=multimask, least_score=least)
    assert torch.equal(same_scores, scores)
    kept = scores > least
    assert 0 < kept.sum() < kept.numel()
    if kind == "plain":  # its convolutions may round otherwise in a smaller batch
        torch.testing.assert_close(got[kept], full[kept], rtol=1e-4, atol=1e-5)
    else:
        assert torch.equal(got[kept], full[kept])
    assert (got[~kept] == EMPTY_LOGIT).all()
    none, _ = decode(sam, encoded, given, multimask=multimask, least_score=1e9)
    assert (none == EMPTY_LOGIT).all()
    assert none.shape == full.shape


def count_image_sides(sam: Sam, monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    decoder = sam.mask_decoder
    assert isinstance(decoder, PackedMaskDecoder)
    project, seen = decoder._image_side, []

    def counted(*args: Any) -> Any:
        seen.append(args[0])
        return project(*args)

    monkeypatch.setattr(decoder, "_image_side", counted)
    return seen


def test_an_image_is_projected_once(monkeypatch: pytest.MonkeyPatch):
    sam = packed_sam()
    seen = count_image_sides(sam, monkeypatch)
    first, second = image(), image(seed=1)
    answer, _ = decode(sam, first, clicks(1))
    again, _ = decode(sam, first, clicks(1))
    assert len(seen) == 1
    assert torch.equal(answer, again)
    other, _ = decode(sam, second, clicks(1))
    assert len(seen) == 2
    assert not torch.allclose(other, answer)


def test_a_mask_prompt_leaves_the_images_projection_alone(monkeypatch: pytest.MonkeyPatch):
    sam, encoded = packed_sam(), image()
    seen = count_image_sides(sam, monkeypatch)
    answer, _ = decode(sam, encoded, clicks(1))
    decode(sam, encoded, prompt_kinds((8, 8))["3 clicks with masks"])
    assert len(seen) == 4
    again, _ = decode(sam, encoded, clicks(1))
    assert len(seen) == 4
    assert torch.equal(again, answer)


def test_grids_take_turns():
    sam = packed_sam()
    for grid in ((8, 8), (5, 7), (8, 8)):
        expected, _ = decode(plain_sam(), image(grid), clicks(2))
        got, _ = decode(sam, image(grid), clicks(2))
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)


def packed_predictor() -> Predictor:
    side = VIT.image_size
    spec = replace(get_spec("vit_b"), image_size=side, least_size=side, canvas_multiple=side)
    return Predictor(packed_sam(), spec, runtime=choose_runtime("cpu"))


def test_a_predictor_reuses_an_embedding_and_frees_with_it():
    predictor = packed_predictor()
    images = predictor._model.mask_decoder.images
    picture = np.random.default_rng(0).integers(0, 255, (60, 90), np.uint8)
    embedding = predictor.encode(picture)
    prompts = Prompts(points=[[[20, 30]]], point_labels=[[1]])
    for _ in range(2):
        predictor.decode(embedding, prompts)
    assert len(images) == 1
    del embedding
    gc.collect()
    assert len(images) == 0


def test_least_score_through_the_predictor():
    predictor = packed_predictor()
    picture = np.random.default_rng(0).integers(0, 255, (60, 90), np.uint8)
    embedding = predictor.encode(picture)
    prompts = Prompts(points=[[[20, 30]]], point_labels=[[1]])
    full = predictor.decode(embedding, prompts)
    least = float(full.scores.max()) - 1e-6
    best = predictor.decode(embedding, prompts, least_score=least)
    np.testing.assert_array_equal(best.scores, full.scores)
    kept = full.scores > least
    np.testing.assert_array_equal(best.low_res_logits[kept], full.low_res_logits[kept])
    assert (best.low_res_logits[~kept] == EMPTY_LOGIT).all()


def test_threads_share_a_decoder(monkeypatch: pytest.MonkeyPatch):
    sam, encoded = packed_sam(), image()
    expected = [decode(plain_sam(), encoded, clicks(n))[0] for n in range(1, 5)]
    seen = count_image_sides(sam, monkeypatch)
    got: dict[int, Tensor] = {}

    def work(n: int) -> None:
        got[n] = decode(sam, encoded, clicks(n))[0]

    threads = [threading.Thread(target=work, args=(n,)) for n in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 1
    for n, answer in enumerate(expected, 1):
        torch.testing.assert_close(got[n], answer, rtol=1e-4, atol=1e-5)


def test_clicks_at_the_same_time_do_not_disturb_each_other():
    sam, encoded = packed_sam(), image()
    given = [clicks(1) | {"points": torch.full((1, 1, 2), 10.0 * n)} for n in range(4)]
    expected = [decode(plain_sam(), encoded, each)[0] for each in given]
    order = [0, 1, 2, 3] * 10
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda n: decode(sam, encoded, given[n])[0], order))
    for n, got in zip(order, answers, strict=True):
        torch.testing.assert_close(got, expected[n], rtol=1e-4, atol=1e-5)


def test_no_two_threads_get_the_same_memory():
    decoder = packed_sam().mask_decoder
    assert isinstance(decoder, PackedMaskDecoder)
    cells = torch.zeros(6, 4)
    first, second = decoder._take_spare(cells), decoder._take_spare(cells)
    assert first.data_ptr() != second.data_ptr()
    decoder._spare.extend([first, second])
    assert decoder._take_spare(cells) is second
    assert decoder._take_spare(cells) is first
    decoder._spare.append(first)
    assert decoder._take_spare(torch.zeros(5, 4)).shape == (5, 4)
