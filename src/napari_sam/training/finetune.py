"""Fine-tuning: a trained model and a few labelled images in, a registered better model out.

Images are split, weights are judged on those set aside by evaluation's own measures, the best are
kept and given a name. Knows nothing of windows and commands; a killed run resumes.
"""

import json
from collections.abc import Generator, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import napari_sam
from napari_sam.core.modeling.micro import MicroSam
from napari_sam.core.registered import check_name, register
from napari_sam.core.registry import ModelSpec, get_spec
from napari_sam.errors import TrainingError
from napari_sam.evaluation.datasets import Sample
from napari_sam.evaluation.params import EvaluationParams
from napari_sam.progress import Progress
from napari_sam.training.adapters import choose_learners, merge_adapters
from napari_sam.training.checkpoint import load_checkpoint, save_state, save_weights
from napari_sam.training.images import TrainingImages
from napari_sam.training.loop import Trainer
from napari_sam.training.params import FinetuneParams
from napari_sam.training.run_folder import PICTURE, RESULT, VALIDATION_LOG, write_json
from napari_sam.training.sample_picture import write_sample
from napari_sam.training.validation import Figures, validate
from napari_sam.training.weights import trained_model

BEST = "best.pt"
CLICKS = 3


@dataclass(frozen=True)
class FinetuneResult:
    """What fine-tuning has come to.

    Attributes
    ----------
    before, after
        Figures of the model that it began with, and of the weights kept, on the images set aside.
    step
        Of the weights kept; 0: none were better than those that it began with.
    spec
        The registered model; None where none was better.
    validated_on
        Names of the images set aside.
    """

    before: Figures
    after: Figures
    step: int
    spec: ModelSpec | None
    validated_on: tuple[str, ...]

    def to_markdown(self) -> str:
        """The table of before and after."""
        rows = [("1 click", "click"), ("3 clicks", "last_click"), ("box", "box")]
        lines = ["| mean IoU | before | after | gain |", "|---|---|---|---|"]
        for title, name in rows:
            before, after = getattr(self.before, name), getattr(self.after, name)
            lines.append(f"| {title} | {before:.3f} | {after:.3f} | {after - before:+.3f} |")
        return "\n".join(lines)


def fine_tune(
    samples: Sequence[Sample],
    name: str,
    folder: Path,
    params: FinetuneParams | None = None,
    *,
    base: str = "tiny",
    weights: Path | None = None,
    replace_old: bool = False,
    pictures: bool = False,
) -> Generator[Progress, None, FinetuneResult]:
    """Fit a model to labelled images and register it; a job. Closed early, it can be resumed.

    Parameters
    ----------
    samples
        Labelled images.
    name
        Of the new model.
    folder
        Of the run: checkpoint, log, best weights. Resumed if it has them.
    params
        Settings.
    base
        Registered model to begin with.
    weights
        File of its architecture to begin with in place of its own.
    replace_old
        Take the place of a model of this name that was made here.
    pictures
        Draw what the weights make of an image that was set aside, at each validation.

    Raises
    ------
    TrainingError
        There is nothing to learn from.
    ModelError
        The name cannot be taken, or the model cannot be loaded.
    """
    params = params or FinetuneParams()
    check_name(name, replace_old=replace_old)
    torch.set_num_threads(params.threads)
    spec = get_spec(base)
    training, aside = split(samples, params)
    yield Progress(0, 0, f"loading {base}")
    model = trained_model(spec, weights)
    torch.manual_seed(params.seed)
    choose_learners(model, params.scope, rank=params.rank)
    settings = params.training((spec.least_size, spec.image_size), spec.most_enlargement)
    trainer = Trainer(model, settings, folder)
    judge = _Judge(trainer, spec, aside, params, pictures=pictures)
    yield Progress(0, 0, "judging the model as it is")
    before = judge.begin()
    yield from _train(trainer, judge, TrainingImages.from_samples(training), params)
    made = _provenance(samples, aside, params, base=base, weights=weights)
    made |= {"before": asdict(before), "after": asdict(judge.best), "step": judge.best_step}
    registered = None
    if judge.best_step:
        file = _write_best(model, judge, folder / f"{name}.safetensors")
        registered = register(name, file, like=base, made=made, replace_old=replace_old)
    names = tuple(sample.name for sample in aside)
    result = FinetuneResult(before, judge.best, judge.best_step, registered, names)
    said = {"name": name if registered else None, "table": result.to_markdown()}
    write_json(folder / RESULT, made | said)
    return result


def _train(
    trainer: Trainer, judge: "_Judge", images: TrainingImages, params: FinetuneParams
) -> Iterator[Progress]:
    """To the end, or until nothing gets better; all is on disk then, and where it is given up."""
    try:
        for progress in trainer.run(images):
            yield progress
            if trainer.step % params.validate_every == 0:
                yield Progress(progress.done, progress.total, "validating")
                judge.look()
                trainer.save()
            if judge.misses >= params.patience:
                break
        if judge.seen < trainer.step:
            judge.look()
    finally:
        trainer.save()


def _write_best(model: nn.Module, judge: "_Judge", file: Path) -> Path:
    model.load_state_dict(judge.best_weights())
    merge_adapters(model)
    # The published SAMs are float32; our own is half as large.
    save_weights(model.state_dict(), file, half=isinstance(model, MicroSam))
    return file


def split(samples: Sequence[Sample], params: FinetuneParams) -> tuple[list[Sample], list[Sample]]:
    """Images to train on, and images set aside to choose weights by.

    Planes of one stack stay together where there are other items.

    Raises
    ------
    TrainingError
        No image has an object.
    """
    usable = [s for s in samples if s.labels.any()]
    if not usable:
        raise TrainingError(
            f"none of {len(samples)} images has an object: labels must be numbers above 0 where"
            " objects are, a number an object."
        )
    items = sorted({s.name.partition("#")[0] for s in usable})
    rng = np.random.default_rng(params.seed)
    if len(items) > 1:
        count = min(len(items) - 1, max(1, round(params.validation * len(items))))
        chosen = {items[i] for i in rng.permutation(len(items))[:count]}
        is_aside = [s.name.partition("#")[0] in chosen for s in usable]
    elif len(usable) > 1:
        count = min(len(usable) - 1, max(1, round(params.validation * len(usable))))
        planes = set(rng.permutation(len(usable))[:count].tolist())
        is_aside = [number in planes for number in range(len(usable))]
    else:
        return usable, usable
    pairs = list(zip(usable, is_aside, strict=True))
    return [s for s, a in pairs if not a], [s for s, a in pairs if a]


class _Judge:
    """Figures of the averaged weights from time to time; the best are kept, on disk too."""

    def __init__(
        self,
        trainer: Trainer,
        spec: ModelSpec,
        aside: list[Sample],
        params: FinetuneParams,
        *,
        pictures: bool,
    ) -> None:
        self.trainer = trainer
        self.pictures = pictures
        self.spec = spec
        self.aside = aside
        self.params = EvaluationParams(clicks=CLICKS, objects_per_image=params.objects)
        self.path = trainer.folder / BEST
        self.log = trainer.folder / VALIDATION_LOG
        self.misses, self.best_step, self.seen = 0, 0, 0

    def begin(self) -> Figures:
        """Figures of the model as it is; of a resumed run, those of its beginning."""
        state = load_checkpoint(self.path)
        if state is None:
            self.log.unlink(missing_ok=True)
            before = self.best = self._measure(None)
            if not before.objects:
                raise TrainingError(
                    f"the images set aside ({', '.join(s.name for s in self.aside)}) have no object"
                    f" of at least {self.params.least_area} pixels."
                )
            self._keep(before, {})
            return before
        self.best, self.best_step = Figures(**state["figures"]), state["step"]
        steps = [json.loads(line)["step"] for line in self.log.read_text().splitlines()]
        seen = [step for step in steps if step <= self.trainer.step]
        self.misses, self.seen = sum(self.best_step < step for step in seen), max(seen, default=0)
        return Figures(**state["before"])

    def look(self) -> None:
        """Judge the averaged weights of this step."""
        figures = self._measure(self.trainer.ema)
        self.seen = self.trainer.step
        if figures.overall > self.best.overall:
            self.best, self.best_step, self.misses = figures, self.trainer.step, 0
            self._keep(figures, self.trainer.ema)
        else:
            self.misses += 1

    def best_weights(self) -> dict[str, Tensor]:
        """The weights that were best."""
        state = load_checkpoint(self.path)
        assert state is not None
        weights: dict[str, Tensor] = state["weights"]
        return weights

    def _measure(self, weights: dict[str, Tensor] | None) -> Figures:
        trainer = self.trainer
        found = validate(trainer.model, self.spec, self.aside, self.params, weights=weights)
        line = {"step": trainer.step, "seconds": round(trainer.seconds, 1)} | asdict(found)
        with self.log.open("a") as file:
            file.write(json.dumps(line) + "\n")
        if self.pictures:
            path = trainer.folder / PICTURE
            write_sample(
                path, trainer.model, self.spec, self.aside[0], self.params, weights=weights
            )
        return found

    def _keep(self, figures: Figures, weights: dict[str, Tensor]) -> None:
        state = load_checkpoint(self.path) or {"before": asdict(figures)}
        save_state(
            self.path,
            {
                "before": state["before"],
                "figures": asdict(figures),
                "step": self.best_step,
                "weights": weights,
            },
        )


def _provenance(
    samples: Sequence[Sample],
    aside: Sequence[Sample],
    params: FinetuneParams,
    *,
    base: str,
    weights: Path | None,
) -> dict[str, Any]:
    return {
        "base": base,
        "base_hash": get_spec(base).hash,
        "weights": None if weights is None else str(weights),
        "params": asdict(params),
        "images": [sample.name for sample in samples],
        "set_aside": [sample.name for sample in aside],
        "napari_sam": napari_sam.__version__,
        "torch": torch.__version__,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }
