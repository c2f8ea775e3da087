"""What training may set. Torch-free, frozen, written into every checkpoint."""

import math
from dataclasses import dataclass, field, fields
from typing import Literal

from napari_sam.core.scale import working_scale
from napari_sam.errors import TrainingError
from napari_sam.training.crop_shape import CropShape

MOST_ROUNDS = 11


@dataclass(frozen=True)
class PromptMix:
    """How often an object is first asked for in which way; weights, brought to a sum of one.

    Attributes
    ----------
    centre, random, grid
        One click: deep inside, anywhere inside, or on a point of a regular grid.
    tight_box, noisy_box, loose_box
        The box of the mask; each side moved at random; enlarged by up to half.
    scribble
        Several clicks along a line inside.
    coarse_mask
        A blurred, shifted mask alone. Drawn for whole batches.
    """

    centre: float = 0.3
    random: float = 0.15
    grid: float = 0.03
    tight_box: float = 0.15
    noisy_box: float = 0.25
    loose_box: float = 0.06
    scribble: float = 0.04
    coarse_mask: float = 0.02

    def __post_init__(self) -> None:
        """Refuse weights that are no weights."""
        weights = [getattr(self, f.name) for f in fields(self)]
        if min(weights) < 0 or not 0 < sum(weights) < math.inf:
            raise TrainingError(f"{self}: weights must be 0 or more, and one of them above 0.")

    @classmethod
    def parse(cls, text: str) -> "PromptMix":
        """Read ``KIND=WEIGHT,...``; kinds that are not named get no weight.

        Raises
        ------
        TrainingError
            A kind is not known, or a weight is no number.
        """
        weights = dict.fromkeys((f.name for f in fields(cls)), 0.0)
        for part in text.split(","):
            kind, _, weight = part.partition("=")
            try:
                weights[kind.strip()] = float(weight)
            except ValueError as error:
                raise TrainingError(
                    f"{part!r} is no prompt and weight: write KIND=WEIGHT."
                ) from error
        if unknown := set(weights) - {f.name for f in fields(cls)}:
            known = ", ".join(f.name for f in fields(cls))
            raise TrainingError(f"no prompts of the kind {unknown.pop()!r}. Known: {known}.")
        return cls(**weights)


@dataclass(frozen=True)
class ScoreParams:
    """Fitting the head that predicts the IoU (``scores.py``).

    Attributes
    ----------
    images, objects_per_image
        Whole training images that are drawn, and objects asked about in each.
    rounds
        Prompts of an object clicked at its centre: the first, then corrections.
    epochs, batch, learning_rate, weight_decay
        Of the fit.
    seed
        Of images, objects and order.
    """

    images: int = 420
    objects_per_image: int = 6
    rounds: int = 3
    epochs: int = 30
    batch: int = 128
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    seed: int = 0


@dataclass(frozen=True)
class TrainParams:
    """One training run. The defaults are for the bundled model on a few cores.

    Attributes
    ----------
    minutes
        Length of the run in minutes of training, summed over resumes; the cosine ends here.
    steps
        Length in steps, in place of ``minutes``: then the run does not depend on the clock, and
        the same seed gives the same weights.
    seed
        Of weights, data and prompts.
    learning_rate
        Of AdamW, at its highest.
    weight_decay
        Of AdamW, for matrices; vectors do not decay.
    betas
        Of AdamW.
    clip
        Norm to which gradients are clipped.
    warmup_steps
        Steps in which the learning rate rises, before it falls along a cosine.
    layer_decay
        Each block of the encoder learns so many times slower than the next; 1: all alike.
    drop_path
        Chance that the last block of the encoder is skipped, falling to 0 at the first.
    ema_decay
        Of the averaged weights, which are the ones exported.
    accumulate
        Batches whose gradients make one step.
    precision
        Numbers of the networks' products: bf16 where the processor has it, or float32.
    recompute
        Compute the encoder's blocks again for the gradients rather than keep what they made: less
        memory, a third more time.
    device
        auto (a GPU if there is one), cpu, cuda, mps.
    workers
        Processes that make batches ahead; 0: made between steps.
    crops
        Kinds of batches with their share of the steps.
    working_sides
        Least and largest long side in pixels to which the model brings a picture when it is used:
        crops are cut at scales around that.
    working_enlargement
        How many times it enlarges a small picture at most.
    variety
        How much the scale and the looks of crops are varied, 0 to 1; 0: they are only turned and
        mirrored.
    synthetic_share
        Share of crops that are drawn (``synthetic.py``) instead of cut from the packs.
    copy_paste
        Share of the real crops onto which objects of another image are pasted.
    manual_weight
        How many times more often an image labelled by hand is drawn than another.
    held_out
        Share of the images of each modality that is not trained on, to compare weights with.
    first_rounds, last_rounds
        Prompts of an object in a step, the first one and the corrections, growing linearly from
        one to the other.
    mask_only_rounds
        Further rounds in which the last mask is given back without a new click: the first of
        them anywhere between the others, the second at the end.
    prompts
        How objects are first asked for.
    loss
        ``"sam"``: 20 focal + dice over the whole crop, as published. ``"roi"``: focal averaged
        over a region around the object, which a small model learns from sooner.
    iou_weight
        Weight of the IoU regression.
    auxiliary_weight
        Weight of the dense auxiliary loss, which fades out. The bundled architecture only.
    checkpoint_seconds
        Time between two checkpoints.
    log_every
        Steps between two lines of the log.
    """

    minutes: float = 90.0
    steps: int | None = None
    seed: int = 0
    learning_rate: float = 1e-3
    weight_decay: float = 0.03
    betas: tuple[float, float] = (0.9, 0.98)
    clip: float = 1.0
    warmup_steps: int = 80
    layer_decay: float = 1.0
    drop_path: float = 0.0
    ema_decay: float = 0.999
    accumulate: int = 1
    precision: Literal["bf16", "float32"] = "bf16"
    recompute: bool = False
    device: str = "auto"
    workers: int = 1
    crops: tuple[CropShape, ...] = field(
        default=(
            CropShape(128, 8, 4, 0.25),
            CropShape(256, 4, 6, 0.65),
            CropShape(512, 1, 8, 0.1),
        )
    )
    working_sides: tuple[int, int] = (640, 1024)
    working_enlargement: float = 4.0
    variety: float = 1.0
    synthetic_share: float = 0.45
    copy_paste: float = 0.15
    manual_weight: float = 1.0
    held_out: float = 0.0
    first_rounds: int = 2
    last_rounds: int = 4
    mask_only_rounds: int = 0
    prompts: PromptMix = PromptMix()
    loss: Literal["roi", "sam"] = "roi"
    iou_weight: float = 2.0
    auxiliary_weight: float = 0.5
    checkpoint_seconds: float = 120.0
    log_every: int = 50

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        ranges = {
            "minutes": self.minutes > 0,
            "steps": self.steps is None or self.steps > 0,
            "learning_rate": self.learning_rate > 0,
            "clip": self.clip > 0,
            "layer_decay": 0 < self.layer_decay <= 1,
            "drop_path": 0 <= self.drop_path < 1,
            "ema_decay": 0 <= self.ema_decay < 1,
            "accumulate": self.accumulate >= 1,
            "workers": self.workers >= 0,
            "crops": len(self.crops) > 0 and sum(c.share for c in self.crops) > 0,
            "working_sides": 32 <= self.working_sides[0] <= self.working_sides[1],
            "working_enlargement": self.working_enlargement >= 1,
            "variety": 0 <= self.variety <= 1,
            "synthetic_share": 0 <= self.synthetic_share <= 1,
            "copy_paste": 0 <= self.copy_paste <= 1,
            "manual_weight": self.manual_weight > 0,
            "held_out": 0 <= self.held_out < 1,
            "first_rounds": 1 <= self.first_rounds <= self.last_rounds,
            "mask_only_rounds": 0 <= self.mask_only_rounds <= 2,
            "last_rounds": self.last_rounds + self.mask_only_rounds <= MOST_ROUNDS,
            "log_every": self.log_every >= 1,
        }
        for name, good in ranges.items():
            if not good:
                raise TrainingError(f"{name} is {getattr(self, name)}: it cannot be that.")

    def zoom(self, long_side: int) -> float:
        """Scale at which the model sees a picture of so many pixels when it is used."""
        return working_scale(long_side, *self.working_sides, self.working_enlargement)


# Kirillov et al. 2023, appendix A, with the batch of one machine.
SAM_RECIPE = TrainParams(
    learning_rate=8e-4,
    weight_decay=0.1,
    betas=(0.9, 0.999),
    warmup_steps=250,
    layer_decay=0.8,
    drop_path=0.4,
    crops=(CropShape(512, 2, 64, 1.0),),
    working_sides=(1024, 1024),
    working_enlargement=math.inf,
    first_rounds=9,
    last_rounds=9,
    mask_only_rounds=2,
    loss="sam",
    iou_weight=1.0,
    auxiliary_weight=0.0,
)
RECIPES = {"small": TrainParams(), "sam": SAM_RECIPE}


FINETUNE_RATES = {"decoder": 1e-3, "lora": 3e-4, "all": 3e-4}


@dataclass(frozen=True)
class FinetuneParams:
    """Fitting a trained model to a few labelled images.

    Attributes
    ----------
    scope
        What learns: decoder (and prompt encoder); lora: that, and small additions to the image
        encoder; all.
    rank
        Of the additions of lora.
    minutes
        Most minutes of training, what validation takes not counted.
    steps
        Length in steps, in place of ``minutes``.
    learning_rate
        At its highest; None: 1e-3 for the decoder alone, 3e-4 for more of the network.
    validation
        Share of the images that is kept to choose weights by, at least one; a single image is
        trained on and validated on.
    patience
        Validations in a row without a gain after which training stops.
    validate_every
        Steps between two validations.
    objects
        Most objects of an image that are asked about in a validation.
    crop
        Side in pixels of the crops; a multiple of 16.
    crops
        Crops of a step.
    crop_objects
        Objects asked about in each crop.
    variety
        How much the scale and the looks of crops are varied, 0 to 1. With little the model fits
        images of one magnification better, and others worse.
    synthetic_share
        Share of crops that are drawn: what the model could do before is forgotten less.
    seed
        Of the split, of crops and prompts.
    threads
        Of torch, on a CPU.
    device
        auto (a GPU if there is one), cpu, cuda, mps.
    """

    scope: Literal["decoder", "lora", "all"] = "decoder"
    rank: int = 4
    minutes: float = 8.0
    steps: int | None = None
    learning_rate: float | None = None
    validation: float = 0.2
    patience: int = 6
    validate_every: int = 50
    objects: int = 12
    crop: int = 384
    crops: int = 2
    crop_objects: int = 10
    variety: float = 0.3
    synthetic_share: float = 0.0
    seed: int = 0
    threads: int = 2
    device: str = "auto"

    def __post_init__(self) -> None:
        """Refuse what cannot be meant; the rest is refused by :meth:`training`."""
        ranges = {
            "rank": self.rank >= 1,
            "validation": 0 < self.validation < 1,
            "patience": self.patience >= 1,
            "validate_every": self.validate_every >= 1,
            "objects": self.objects >= 1,
            "threads": self.threads >= 1,
        }
        for name, good in ranges.items():
            if not good:
                raise TrainingError(f"{name} is {getattr(self, name)}: it cannot be that.")
        self.training((640, 1024), math.inf)

    def training(self, working_sides: tuple[int, int], enlargement: float) -> TrainParams:
        """The same as settings of the training loop; see there for what is given here."""
        rate = self.learning_rate
        return TrainParams(
            minutes=self.minutes,
            steps=self.steps,
            seed=self.seed,
            learning_rate=FINETUNE_RATES[self.scope] if rate is None else rate,
            warmup_steps=20,
            ema_decay=0.98,
            device=self.device,
            workers=0,
            crops=(CropShape(self.crop, self.crops, self.crop_objects, 1.0),),
            working_sides=working_sides,
            working_enlargement=enlargement,
            variety=self.variety,
            synthetic_share=self.synthetic_share,
            copy_paste=0.0,
            first_rounds=3,
            last_rounds=3,
            auxiliary_weight=0.0,
            log_every=10,
        )
