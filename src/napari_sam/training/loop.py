"""The training loop, read from top to bottom.

``Trainer`` holds model, averages and optimiser; ``run`` is a generator of Progress that ends when
the minutes of its parameters are used up. Stop it at any time: the next run resumes.
"""

import json
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_sam.core.modeling.common import EncodedImage
from napari_sam.core.modeling.micro import MicroSam
from napari_sam.progress import Progress
from napari_sam.training.checkpoint import load_checkpoint, save_checkpoint
from napari_sam.training.dataset import Batch, TrainingImages, batches
from napari_sam.training.distributed import average_gradients, average_over_ranks, rank, world_size
from napari_sam.training.losses import (
    AuxiliaryHead,
    auxiliary_loss,
    mask_iou,
    roi_mask_loss,
    roi_weights,
    sam_mask_loss,
)
from napari_sam.training.params import TrainParams
from napari_sam.training.simulate import corrective_clicks, first_prompts, tight_boxes

STRIDE = 4  # of the masks; the auxiliary labels come at the same stride
LARGEST_SHIFT = 700.0  # pixels that positions are moved by, so that large images are known too
LOG_EVERY = 50


class Trainer:
    """One training run in a folder: ``checkpoint.pt`` and ``log.jsonl``."""

    def __init__(self, model: MicroSam, params: TrainParams, folder: Path) -> None:
        self.params = params
        self.folder = folder
        self.model = model
        config = model.config
        self.auxiliary = AuxiliaryHead(config.out_chans, config.skip_chans)
        self.optimizer = torch.optim.AdamW(
            parameter_groups([model, self.auxiliary], params.weight_decay),
            lr=params.learning_rate,
            betas=params.betas,
            fused=True,
        )
        self.ema = {n: v.detach().clone() for n, v in model.state_dict().items()}
        self.step, self.seconds = 0, 0.0
        self._resume()

    @property
    def checkpoint(self) -> Path:
        """Where the run's state lies."""
        return self.folder / "checkpoint.pt"

    @property
    def fraction(self) -> float:
        """Share of the run that is done, 0 to 1."""
        return min(1.0, self.seconds / (60 * self.params.minutes))

    def run(self, images: TrainingImages | None, *, workers: int = 1) -> Iterator[Progress]:
        """Train until the minutes are used up; yields after every step."""
        self.model.train()
        total = int(60 * self.params.minutes)
        start = self.step * world_size() + rank()
        source = batches(images, self.params, start, stride=world_size(), workers=workers)
        last = saved = logged = time.monotonic()
        notes: dict[str, list[float]] = {}
        while self.fraction < 1:
            asked = time.monotonic()
            batch = next(source)
            waited = time.monotonic() - asked
            for name, value in (self._train_step(batch) | {"data_wait": waited}).items():
                notes.setdefault(name, []).append(value)
            now = time.monotonic()
            spent, last = now - last, now
            # All ranks must agree on the time, for it decides the learning rate and the end.
            self.seconds += average_over_ranks(spent)
            if self.step % LOG_EVERY == 0:
                self._log(notes, (now - logged) / LOG_EVERY)
                notes, logged = {}, now
            if now - saved > self.params.checkpoint_seconds:
                self.save()
                saved = now
            yield Progress(int(self.seconds), total, f"step {self.step}")
        self.save()

    def _train_step(self, batch: Batch) -> dict[str, float]:
        number = self.step * world_size() + rank()
        generator = torch.Generator().manual_seed(self.params.seed * 1_000_003 + number)
        for group in self.optimizer.param_groups:
            group["lr"] = self._learning_rate()
        with torch.autocast("cpu", torch.bfloat16):
            size = batch.images.shape[-1]
            encoded = self.model.encode_image(batch.images, canvas=(size, size))
            dense = self.auxiliary(encoded.features, encoded.skip)
        loss, notes = self._interactive_loss(batch, encoded, generator)
        auxiliary = auxiliary_loss(dense, batch.labels)
        fade = self.params.auxiliary_weight * min(1.0, 3 * (1 - self.fraction))
        self.optimizer.zero_grad(set_to_none=True)
        (loss + fade * auxiliary).backward()
        average_gradients([self.model, self.auxiliary])
        nn.utils.clip_grad_norm_(self.model.parameters(), self.params.clip)
        self.optimizer.step()
        self.step += 1
        self._average()
        return notes | {"loss": loss.item(), "auxiliary": auxiliary.item()}

    def _interactive_loss(
        self, batch: Batch, encoded: EncodedImage, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, float]]:
        """Mean loss over the prompt rounds, and the IoU after each round."""
        per_image = len(batch.masks) // len(batch.images)
        index = torch.arange(len(batch.masks)) // per_image
        soft = F.avg_pool2d(batch.masks[:, None].float(), STRIDE)
        target = soft > 0.5
        roi = roi_weights(tight_boxes(batch.masks), (soft.shape[-2], soft.shape[-1]), STRIDE)
        prompts = first_prompts(batch.masks, soft[:, 0], STRIDE, generator)
        points, labels, is_box = prompts
        shift = torch.rand(2, generator=generator) * LARGEST_SHIFT
        rounds = self._rounds(generator)
        mask: Tensor | None = None
        total = torch.zeros(())
        notes: dict[str, float] = {}
        for number in range(rounds):
            with torch.autocast("cpu", torch.bfloat16):
                logits, scores = self.model.decode_batch(
                    encoded, index, points, labels, mask, shift=shift
                )
            if self.params.loss == "roi":
                losses = roi_mask_loss(logits, soft, roi)
            else:
                losses = sam_mask_loss(logits, soft)
            ambiguous = ~is_box & (number == 0)
            best = losses[:, 1:].min(1).values
            total = total + (losses[:, 0] + torch.where(ambiguous, 1.0, 0.4) * best).mean()
            iou = mask_iou(logits, target)
            total = total + self.params.iou_weight * F.mse_loss(scores, iou)
            chosen = torch.where(ambiguous, 1 + scores[:, 1:].argmax(1), 0)
            notes |= _round_notes(number, iou, scores, chosen, is_box)
            picked = chosen[:, None, None, None].expand(-1, 1, *logits.shape[-2:])
            mask = logits.detach().gather(1, picked)
            if number + 1 < rounds:
                click, sign = corrective_clicks(
                    mask[:, 0] > 0, batch.masks, soft[:, 0], STRIDE, generator
                )
                points = torch.cat([points, click[:, None]], 1)
                labels = torch.cat([labels, sign[:, None]], 1)
        return total / rounds, notes

    def _rounds(self, generator: torch.Generator) -> int:
        first, last = self.params.first_rounds, self.params.last_rounds
        most = first + (last - first) * self.fraction
        wobble = float(torch.rand(1, generator=generator))
        return max(1, int(most + wobble) - int(torch.randint(0, 2, (1,), generator=generator)))

    def _learning_rate(self) -> float:
        warm = min(1.0, (self.step + 1) / self.params.warmup_steps)
        cosine = 0.5 * (1 + math.cos(math.pi * self.fraction))
        return self.params.learning_rate * warm * (0.02 + 0.98 * cosine)

    @torch.no_grad()
    def _average(self) -> None:
        decay = min(self.params.ema_decay, (1 + self.step) / (20 + self.step))
        current = self.model.state_dict()
        names = list(current)
        torch._foreach_lerp_(
            [self.ema[n] for n in names], [current[n] for n in names], weight=1 - decay
        )

    def save(self) -> None:
        """Write the checkpoint (the first rank does)."""
        if rank():
            return
        state = {
            "model": self.model.state_dict(),
            "auxiliary": self.auxiliary.state_dict(),
            "ema": self.ema,
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
        }
        save_checkpoint(self.checkpoint, state, self.params)

    def _resume(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        state = load_checkpoint(self.checkpoint)
        if state is None:
            return
        self.model.load_state_dict(state["model"])
        self.auxiliary.load_state_dict(state["auxiliary"])
        self.ema = state["ema"]
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.seconds = state["step"], state["seconds"]

    def _log(self, notes: dict[str, list[float]], seconds_per_step: float) -> None:
        if rank():
            return
        means = {name: round(float(np.nanmean(v)), 4) for name, v in sorted(notes.items())}
        line: dict[str, Any] = {
            "step": self.step,
            "seconds": round(self.seconds, 1),
            "seconds_per_step": round(seconds_per_step, 3),
            "learning_rate": round(self._learning_rate(), 6),
        }
        with (self.folder / "log.jsonl").open("a") as file:
            file.write(json.dumps(line | means) + "\n")


def parameter_groups(modules: list[nn.Module], weight_decay: float) -> list[dict[str, Any]]:
    """Matrices decay, vectors (biases, norms, scales) do not."""
    parameters = [p for module in modules for p in module.parameters() if p.requires_grad]
    return [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]


def _round_notes(
    number: int, iou: Tensor, scores: Tensor, chosen: Tensor, is_box: Tensor
) -> dict[str, float]:
    """IoU of the chosen masks and error of the predicted IoU, for the log."""
    got = iou.gather(1, chosen[:, None])[:, 0]
    notes = {"score_error": float((scores.detach() - iou).abs().mean())}
    if number == 0:
        if is_box.any():
            notes["box"] = float(got[is_box].mean())
        if not is_box.all():
            notes["click"] = float(got[~is_box].mean())
            notes["click_oracle"] = float(iou[~is_box, 1:].max(1).values.mean())
    else:
        notes[f"round_{number + 1}"] = float(got.mean())
    return notes
