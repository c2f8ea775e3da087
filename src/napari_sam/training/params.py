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
    copy_paste
        Share of the real crops onto which objects of another image are pasted.
    held_out
        Share of the images of each modality that is not trained on, to compare weights with.
    first_rounds, last_rounds
        Prompt rounds per step, growing linearly from one to the other.
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
        default=(
            CropShape(128, 8, 4, 0.25),
            CropShape(256, 4, 6, 0.65),
            CropShape(512, 1, 8, 0.1),
        )
    )
    synthetic_share: float = 0.45
    copy_paste: float = 0.15
    held_out: float = 0.0
    first_rounds: int = 2
    last_rounds: int = 4
    loss: Literal["roi", "sam"] = "roi"
    iou_weight: float = 2.0
    auxiliary_weight: float = 0.5
    checkpoint_seconds: float = 120.0
