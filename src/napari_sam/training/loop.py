"""The training loop, read from top to bottom.

``Trainer`` holds model, averages and optimiser; ``run`` is a generator of Progress that ends when
the minutes (or steps) of its parameters are used up. Stop it at any time: the next run resumes.
"""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from napari_sam.core.runtime import choose_runtime
from napari_sam.errors import TrainingError
from napari_sam.progress import Progress
from napari_sam.training.checkpoint import load_checkpoint, save_checkpoint
from napari_sam.training.dataset import Batch, batches
from napari_sam.training.distributed import (
    average_gradients,
    average_over_ranks,
    gather_over_ranks,
    rank,
    world_size,
)
from napari_sam.training.images import TrainingImages
from napari_sam.training.objective import Notes, Objective, PromptObjective
from napari_sam.training.optimizer import learning_rate, parameter_groups
from napari_sam.training.params import TrainParams
from napari_sam.training.regularise import DropPath, keep_norms, recompute_blocks


class Trainer:
    """One training run in a folder: ``checkpoint.pt`` and ``log.jsonl``.

    Parameters
    ----------
    model
        A network of the registry; what of it requires no gradient stays as it is.
    params
        Settings. A resumed run may change them, its length too.
    folder
        Of the run; made if need be, resumed if it has a checkpoint.
    objective
        What is learned; None: to answer prompts.

    Raises
    ------
    TrainingError
        The checkpoint in the folder is of another network.
    ModelError
        The device is not there.
    """

    def __init__(
        self,
        model: nn.Module,
        params: TrainParams,
        folder: Path,
        *,
        objective: Objective | None = None,
    ) -> None:
        self.params = params
        self.folder = folder
        self.device = choose_runtime(params.device).device
        self.model = model.to(self.device)
        self.objective = objective or PromptObjective(model, params)
        self.head = self.objective.head.to(self.device)
        self.optimizer = torch.optim.AdamW(
            parameter_groups(self.model, params) + parameter_groups(self.head, params),
            lr=params.learning_rate,
            betas=params.betas,
            fused=True,
        )
        self.ema = {n: v.detach().clone() for n, v in model.state_dict().items()}
        self.step, self.seconds = 0, 0.0
        self._resume()
        encoder = model.image_encoder
        assert isinstance(encoder, nn.Module)
        self.drop_path = DropPath(encoder, params.drop_path)
        if params.recompute:
            recompute_blocks(encoder)

    @property
    def checkpoint(self) -> Path:
        """Where the run's state lies."""
        return self.folder / "checkpoint.pt"

    @property
    def fraction(self) -> float:
        """Share of the run that is done, 0 to 1."""
        if self.params.steps is not None:
            return min(1.0, self.step / self.params.steps)
        return min(1.0, self.seconds / (60 * self.params.minutes))

    def run(self, images: TrainingImages | None) -> Iterator[Progress]:
        """Train until the end of the run; yields after every step.

        What the consumer does between two steps does not count as training time.

        Parameters
        ----------
        images
            What the objective makes batches of; None: drawn scenes alone.
        """
        self.model.train()
        keep_norms(self.model)
        every = self.params.accumulate * world_size()
        source = batches(
            self.objective.crops(images),
            self.params,
            self.step * every + rank(),
            stride=world_size(),
            pinned=self.device.type == "cuda",
        )
        last = saved = logged = time.monotonic()
        notes: list[Notes] = []
        while self.fraction < 1:
            notes.append(self._train_step(source))
            now = time.monotonic()
            # All ranks must agree on the time, for it decides the learning rate and the end.
            self.seconds += average_over_ranks(now - last)
            if self.step % self.params.log_every == 0:
                self._log(notes, (now - logged) / len(notes))
                notes, logged = [], now
            if now - saved > self.params.checkpoint_seconds:
                self.save()
                saved = now
            yield self._progress()
            last = time.monotonic()
        self.save()

    def _progress(self) -> Progress:
        if self.params.steps is not None:
            return Progress(self.step, self.params.steps, f"step {self.step}")
        return Progress(int(self.seconds), int(60 * self.params.minutes), f"step {self.step}")

    def _train_step(self, source: Iterator[Batch]) -> Notes:
        """One step of the optimiser: the mean gradient of ``accumulate`` batches a rank."""
        rate = learning_rate(self.params, self.step, self.fraction)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["scale"]
        self.optimizer.zero_grad(set_to_none=True)
        notes = []
        for part in range(self.params.accumulate):
            asked = time.monotonic()
            batch = next(source).to(self.device)
            waited = time.monotonic() - asked
            notes.append(self._backward(batch, part) | {"data_wait": waited})
        average_gradients([self.model, self.head])
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.params.clip)
        if not torch.isfinite(norm):
            raise TrainingError(
                f"step {self.step}: the gradients are no numbers any more. Resume from the last"
                " checkpoint with a lower learning rate."
            )
        self.optimizer.step()
        self.step += 1
        self._average()
        return _mean(notes)

    def _backward(self, batch: Batch, part: int) -> Notes:
        number = (self.step * self.params.accumulate + part) * world_size() + rank()
        seed = self.params.seed * 1_000_003 + number
        generator = torch.Generator(self.device).manual_seed(seed)
        torch.manual_seed(seed)  # of the score head's dropout
        self.drop_path.seed(seed)
        loss, notes = self.objective.loss(batch, self.fraction, generator)
        (loss / self.params.accumulate).backward()
        return notes

    @torch.no_grad()
    def _average(self) -> None:
        decay = min(self.params.ema_decay, (1 + self.step) / (20 + self.step))
        for name, value in self.model.state_dict().items():
            mean = self.ema[name]
            if mean.is_floating_point():
                mean.lerp_(value, 1 - decay)
            else:
                mean.copy_(value)

    def save(self) -> None:
        """Write the checkpoint (the first rank does)."""
        if rank():
            return
        state = {
            "model": self.model.state_dict(),
            "auxiliary": self.head.state_dict(),
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
        try:
            self.model.load_state_dict(state["model"])
            self.head.load_state_dict(state["auxiliary"])
            self.optimizer.load_state_dict(state["optimizer"])
        except (RuntimeError, ValueError, KeyError) as error:
            raise TrainingError(
                f"{self.checkpoint} is of another network, or of a run with other layers or rates"
                f" ({error}). Take another folder, or start with --start-from."
            ) from error
        self.ema = {n: v.to(self.device) for n, v in state["ema"].items()}
        self.step, self.seconds = state["step"], state["seconds"]
        if not rank():
            _cut_log(self.folder / "log.jsonl", lambda line: line["step"] <= self.step)

    def _log(self, notes: list[Notes], seconds_per_step: float) -> None:
        means = _mean([each for theirs in gather_over_ranks(notes) for each in theirs])
        if rank():
            return
        line: dict[str, Any] = {
            "step": self.step,
            "seconds": round(self.seconds, 1),
            "seconds_per_step": round(seconds_per_step, 3),
            "learning_rate": round(learning_rate(self.params, self.step, self.fraction), 8),
        }
        with (self.folder / "log.jsonl").open("a") as file:
            file.write(json.dumps(line | {n: round(v, 6) for n, v in means.items()}) + "\n")


def _mean(notes: list[Notes]) -> Notes:
    """Mean of each number over those that have it."""
    names = {name for each in notes for name in each}
    return {n: float(np.mean([each[n] for each in notes if n in each])) for n in sorted(names)}


def _cut_log(path: Path, keep: Callable[[dict[str, Any]], bool]) -> None:
    """Drop what a killed run wrote after its last checkpoint: it will be written again."""
    if not path.exists():
        return
    kept = []
    for text in path.read_text().splitlines():
        try:
            line = json.loads(text)
        except ValueError:  # cut short by the kill
            continue
        if keep(line):
            kept.append(text + "\n")
    path.write_text("".join(kept))
