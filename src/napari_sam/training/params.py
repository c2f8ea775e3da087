"""What a training run may set. Torch-free, frozen, written into every checkpoint."""

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class CropShape:
    """One kind of batch: ``images`` crops of ``size`` pixels with ``objects`` prompts each."""

    size: int
    images: int
    objects: int
    share: float


SCORE_CROPS = (CropShape(256, 4, 8, 0.5), CropShape(512, 1, 16, 0.5))


@dataclass(frozen=True)
class TrainParams:
    """One training run.

    Attributes
    ----------
    minutes
        Length of the run in minutes of training, summed over resumes; the cosine ends here.
    seed
        Of weights, data and prompts.
    learning_rate, weight_decay, betas, clip
        Of AdamW, and the norm to which gradients are clipped.
    warmup_steps
        Steps of linear warm-up.
    ema_decay
        Of the averaged weights, which are the ones exported.
    crops
        Kinds of batches with their share of the steps.
    synthetic_share
        Share of crops that are drawn (``synthetic.py``) instead of cut from the packs.
    first_rounds, last_rounds
        Prompt rounds per step, growing linearly from one to the other.
    stage
        ``"all"``: every weight. ``"scores"``: only the head that predicts the IoU, on a model whose
        masks are finished, with crops of the sizes that are used later.
    loss
        ``"sam"``: 20 focal + dice over the whole crop, as published. ``"roi"``: focal averaged
        over a region around the object, which a small model learns from sooner.
    iou_weight, auxiliary_weight
        Weights of the IoU regression and of the dense auxiliary loss (which fades out).
    checkpoint_seconds
        Time between two checkpoints.
    """

    minutes: float = 90.0
    seed: int = 0
    learning_rate: float = 1e-3
    weight_decay: float = 0.03
    betas: tuple[float, float] = (0.9, 0.98)
    clip: float = 1.0
    warmup_steps: int = 80
    ema_decay: float = 0.999
    crops: tuple[CropShape, ...] = field(
        default=(CropShape(128, 8, 4, 0.4), CropShape(256, 4, 6, 0.6))
    )
    synthetic_share: float = 0.45
    first_rounds: int = 2
    last_rounds: int = 4
    stage: Literal["all", "scores"] = "all"
    loss: Literal["roi", "sam"] = "roi"
    iou_weight: float = 2.0
    auxiliary_weight: float = 0.5
    checkpoint_seconds: float = 120.0
