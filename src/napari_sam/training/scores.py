"""Fits the head that predicts the IoU, on a model whose masks are finished.

Masks, prompts and scale are those of the use: whole training images, simulated clicks and boxes,
IoU at the image's own size. What the head sees of each mask is collected once; then the head alone
is fitted, which takes a minute.
"""

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor

from napari_sam.core.fragments import drop_fragments
from napari_sam.core.frame import Frame
from napari_sam.core.modeling.common import EncodedImage
from napari_sam.core.modeling.micro import MicroSam, join_boxes
from napari_sam.core.modeling.micro_score_head import ScoreHead
from napari_sam.core.predictor import Predictor
from napari_sam.core.prompts import Prompts
from napari_sam.core.registry import get_spec
from napari_sam.core.runtime import choose_runtime
from napari_sam.errors import ImageError
from napari_sam.evaluation.clicks import Click, first_click, next_click, tight_box
from napari_sam.evaluation.datasets import Sample
from napari_sam.evaluation.metrics import Mask, iou
from napari_sam.progress import Progress
from napari_sam.training.images import TrainingImages
from napari_sam.training.params import ScoreParams

LEAST_STD = 0.05
LEAST_AREA = 20


class Evidence(NamedTuple):
    """What the head sees of N x M masks (N, M, E), and their IoU with the truth (N, M)."""

    seen: Tensor
    iou: Tensor


def fit_scores(
    model: MicroSam, images: TrainingImages, params: ScoreParams, *, workers: int = 2
) -> Iterator[Progress]:
    """Collect evidence on drawn images in ``workers`` processes, then fit the model's head.

    Raises
    ------
    ImageError
        No image was drawn, or none of them has an object to ask about.
    """
    if params.images < 1:
        raise ImageError(f"images is {params.images}; scores are fitted to one image at least.")
    rng = np.random.default_rng(params.seed)
    tasks = [(images.draw(rng), params, seed) for seed in range(params.images)]
    collected = []
    with ProcessPoolExecutor(
        workers, get_context("spawn"), _remember_model, (model.config, model.state_dict())
    ) as pool:
        for evidence in pool.map(_collect, tasks):
            collected.append(evidence)
            yield Progress(len(collected), params.images + 1, "collecting evidence")
    evidence = Evidence(*(torch.cat(parts) for parts in zip(*collected, strict=True)))
    fit_head(model.mask_decoder.iou_head, evidence, params)
    yield Progress(params.images + 1, params.images + 1, f"fitted to {len(evidence.iou)} prompts")


def fit_head(head: ScoreHead, evidence: Evidence, params: ScoreParams) -> None:
    """Fit a head to evidence: mean squared error of the IoU, inputs brought to unit spread.

    Raises
    ------
    ImageError
        There is no evidence.
    """
    seen, truth = evidence
    if not len(seen):
        raise ImageError(
            f"the scores cannot be fitted: no object of at least {LEAST_AREA} pixels in"
            f" {params.images} training images. Add a pack with labelled objects, or draw more"
            " images."
        )
    with torch.no_grad():
        head.input_mean.copy_(seen.mean((0, 1)))
        head.input_std.copy_(seen.std((0, 1)).clamp(min=LEAST_STD))
    head.requires_grad_(True).train()
    optimizer = torch.optim.AdamW(
        head.parameters(), params.learning_rate, weight_decay=params.weight_decay
    )
    steps = params.epochs * -(-len(seen) // params.batch)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    generator = torch.Generator().manual_seed(params.seed)
    for _ in range(params.epochs):
        for part in torch.randperm(len(seen), generator=generator).split(params.batch):
            loss = F.mse_loss(head(seen[part]), truth[part])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    head.eval()


def collect_evidence(model: MicroSam, sample: Sample, params: ScoreParams, seed: int) -> Evidence:
    """Evidence of one image: clicks deep inside and anywhere, boxes, and corrections of both."""
    rng = np.random.default_rng([params.seed, seed])
    truths = _draw_objects(rng, sample.labels, params.objects_per_image)
    predictor = Predictor(model, get_spec("tiny"), runtime=choose_runtime("cpu"))
    embedding = predictor.encode(sample.picture, intensity="as_is")
    encoded = EncodedImage(embedding.features, embedding.skip)
    seen: list[Tensor] = []
    ious: list[list[float]] = []
    hook = model.mask_decoder.iou_head.register_forward_pre_hook(
        lambda _, inputs: seen.append(inputs[0])
    )
    with hook, torch.inference_mode():
        for truth in truths:
            for prompts, rounds in _first_prompts(rng, truth, params.rounds):
                ious += _correct(model, encoded, embedding.frame, prompts, truth, rounds, rng)
    m = len(model.mask_decoder.hypernetworks)
    if not ious:
        return Evidence(torch.zeros(0, m, _width(model)), torch.zeros(0, m))
    return Evidence(torch.cat(seen).clone(), torch.tensor(ious))


def _first_prompts(rng: Generator, truth: Mask, rounds: int) -> list[tuple[Prompts, int]]:
    y, x = np.nonzero(truth)
    anywhere = rng.integers(len(y))
    return [
        (_one_click(first_click(truth)), rounds),
        (_one_click(Click(int(y[anywhere]), int(x[anywhere]), True)), 1),
        (Prompts(boxes=[tight_box(truth)]), rounds - 1),
    ]


def _correct(
    model: MicroSam,
    encoded: EncodedImage,
    frame: Frame,
    prompts: Prompts,
    truth: Mask,
    rounds: int,
    rng: Generator,
) -> list[list[float]]:
    """IoU of the M masks in each round; a click corrects one of them before the next."""
    mask: NDArray[np.float32] | None = None
    ious = []
    for number in range(rounds):
        logits = drop_fragments(_decode(model, encoded, frame, prompts, mask), prompts, frame)
        masks = frame.restore(torch.from_numpy(logits))[0].numpy() > 0
        ious.append([iou(answer, truth) for answer in masks])
        chosen = 0 if number else int(rng.integers(len(masks)))
        correction = next_click(masks[chosen], truth)
        if correction is None:
            break
        prompts = _add_click(prompts, correction)
        mask = logits[:, chosen : chosen + 1]
    return ious


def _decode(
    model: MicroSam,
    encoded: EncodedImage,
    frame: Frame,
    prompts: Prompts,
    mask: NDArray[np.float32] | None,
) -> NDArray[np.float32]:
    """All M masks (1, M, h, w) of one prompt."""
    points = labels = boxes = None
    if prompts.points is not None:
        points = torch.from_numpy(frame.points_to_model(prompts.points))
        labels = torch.tensor(prompts.point_labels)
    if prompts.boxes is not None:
        boxes = torch.from_numpy(frame.boxes_to_model(prompts.boxes))
    fed_back = None if mask is None else torch.from_numpy(mask)
    places, kinds = join_boxes(points, labels, boxes, fed_back)
    index = torch.zeros(1, dtype=torch.long)
    logits, _ = model.decode_batch(encoded, index, places, kinds, fed_back)
    return np.asarray(logits.float().numpy(), np.float32)


def _one_click(click: Click) -> Prompts:
    return Prompts(points=[[(click.y, click.x)]], point_labels=[[int(click.positive)]])


def _add_click(prompts: Prompts, click: Click) -> Prompts:
    old = [] if prompts.points is None else prompts.points[0].tolist()
    old_labels = [] if prompts.point_labels is None else prompts.point_labels[0].tolist()
    return Prompts(
        points=[[*old, (click.y, click.x)]],
        point_labels=[[*old_labels, int(click.positive)]],
        boxes=prompts.boxes,
    )


def _draw_objects(rng: Generator, labels: NDArray[np.integer], count: int) -> list[Mask]:
    areas = np.bincount(labels.ravel())
    areas[0] = 0
    numbers = rng.permutation(np.flatnonzero(areas >= LEAST_AREA))[:count]
    return [labels == number for number in numbers]


def _width(model: MicroSam) -> int:
    return len(model.mask_decoder.iou_head.input_mean)


_model: MicroSam | None = None  # of a worker process


def _remember_model(config: object, state: dict[str, Tensor]) -> None:
    global _model
    torch.set_num_threads(1)
    _model = MicroSam(config).eval()  # type: ignore[arg-type]
    _model.load_state_dict(state)


def _collect(task: tuple[Sample, ScoreParams, int]) -> Evidence:
    assert _model is not None
    sample, params, seed = task
    return collect_evidence(_model, sample, params, seed)
