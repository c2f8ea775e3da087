"""The command ``pretrain``: an encoder learns from images without labels (``mae.py``)."""

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch

from napari_sam.core.registry import DEFAULT_MODEL, get_spec
from napari_sam.training.checkpoint import save_weights
from napari_sam.training.commands import follow, read_crops, require_checkpoint
from napari_sam.training.crop_shape import CropShape
from napari_sam.training.distributed import join_ranks
from napari_sam.training.flags import add_flags, with_flags
from napari_sam.training.loop import Trainer
from napari_sam.training.mae import MaskedObjective
from napari_sam.training.params import TrainParams
from napari_sam.training.pictures import read_pictures
from napari_sam.training.weights import new_model, start_from

ENCODER = "image_encoder."
DEFAULTS = TrainParams(crops=(CropShape(128, 8, 1, 0.5), CropShape(256, 4, 1, 0.5)))
WITHOUT = frozenset(
    {
        "copy_paste", "manual_weight", "held_out", "first_rounds", "last_rounds",
        "mask_only_rounds", "prompts", "loss", "iou_weight", "auxiliary_weight",
    }
)  # fmt: skip


def pretrain(arguments: Sequence[str], *, prog: str) -> None:
    """Pre-train an encoder, or export what a run has come to.

    Raises
    ------
    NapariSamError
        No images, or a run of something else.
    """
    given = _parser(prog).parse_args(arguments)
    if given.export:
        average = require_checkpoint(given.run)["ema"]
        encoder = {n: v for n, v in average.items() if n.startswith(ENCODER)}
        save_weights(encoder, given.export, step=require_checkpoint(given.run)["step"])
        return
    torch.set_num_threads(given.threads)
    join_ranks()
    params = with_flags(DEFAULTS, given)
    model = new_model(get_spec(given.model), seed=params.seed)
    if given.start_from:
        start_from(model, given.start_from)
    pictures = read_pictures(given.images) if given.images else None
    objective = MaskedObjective(model, params, masked=given.masked)
    trainer = Trainer(model, params, given.run, objective=objective)
    follow(trainer, pictures, stop_after=None, piece=given.piece)


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Pre-train a model's encoder on images without labels: most of each image is"
        " hidden, the rest is used to guess it. The same command resumes. Then: napari-sam train"
        " --start-from with what --export writes.",
    )
    parser.add_argument("run", type=Path, help="folder of the run; resumed when it exists")
    parser.add_argument(
        "--images",
        type=Path,
        action="append",
        default=[],
        help="an image, a folder of images, or a pack; may be given again. Default: drawn scenes",
    )
    parser.add_argument("--model", default=DEFAULT_MODEL, help="whose architecture; see models")
    parser.add_argument("--start-from", type=Path, help="weights that a new run starts from")
    parser.add_argument("--masked", type=float, default=0.75, help="share that is hidden")
    parser.add_argument("--threads", type=int, default=2, help="of each process")
    parser.add_argument("--piece", type=float, help="stop after so many minutes from now")
    parser.add_argument("--export", type=Path, help="write the averaged encoder and stop")
    add_flags(parser, TrainParams, readers={"crops": read_crops}, without=WITHOUT)
    return parser
