"""Train the bundled model's architecture from scratch.

One process: ``python -m napari_sam.training RUN --pack PACK``. Several on one machine, one thread
each (on CPUs better than one process with several threads): ``torchrun --nproc-per-node 2 -m
napari_sam.training RUN --pack PACK --threads 1``.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # before torch: see core/runtime.py

import argparse
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import load_file

from napari_sam.core.architecture import MicroConfig
from napari_sam.core.modeling.micro import MicroSam
from napari_sam.core.registry import get_spec
from napari_sam.training.checkpoint import export_weights, load_checkpoint
from napari_sam.training.dataset import TrainingImages
from napari_sam.training.distributed import join_ranks
from napari_sam.training.loop import Trainer
from napari_sam.training.params import SCORE_CROPS, TrainParams


def main() -> None:
    """Parse the command line, then train or export."""
    parser = argparse.ArgumentParser(prog="python -m napari_sam.training", description=__doc__)
    parser.add_argument("run", type=Path, help="folder of the run; resumed when it exists")
    parser.add_argument("--pack", type=Path, action="append", default=[], help="labelled images")
    parser.add_argument("--minutes", type=float, default=TrainParams.minutes)
    parser.add_argument(
        "--synthetic-share",
        type=float,
        default=TrainParams.synthetic_share,
        help="share of crops that are drawn; may change when a run is resumed",
    )
    parser.add_argument(
        "--stop-after", type=float, help="stop (to resume later) after so many minutes of the run"
    )
    parser.add_argument(
        "--scores-of",
        type=Path,
        help="train only the IoU head of this finished run's averaged weights",
    )
    parser.add_argument(
        "--start-from", type=Path, help="exported weights (safetensors) that a new run starts from"
    )
    parser.add_argument("--learning-rate", type=float, default=TrainParams.learning_rate)
    parser.add_argument("--seed", type=int, default=TrainParams.seed)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--export", type=Path, help="write the averaged weights and stop")
    args = parser.parse_args()
    if args.export:
        state = load_checkpoint(args.run / "checkpoint.pt")
        if state is None:
            parser.error(f"{args.run} has no checkpoint")
        export_weights(state, args.export)
        return
    torch.set_num_threads(args.threads)
    join_ranks()
    torch.manual_seed(args.seed)
    params = replace(
        TrainParams(),
        minutes=args.minutes,
        seed=args.seed,
        learning_rate=args.learning_rate,
        synthetic_share=args.synthetic_share,
    )
    architecture = get_spec("tiny").architecture
    assert isinstance(architecture, MicroConfig)
    model = MicroSam(architecture)
    if args.start_from:
        model.load_state_dict(load_file(args.start_from))
    if args.scores_of:
        finished = load_checkpoint(args.scores_of / "checkpoint.pt")
        if finished is None:
            parser.error(f"{args.scores_of} has no checkpoint")
        model.load_state_dict(finished["ema"])
        params = replace(params, stage="scores", crops=SCORE_CROPS)
    trainer = Trainer(model, params, args.run)
    images = TrainingImages.from_packs(args.pack) if args.pack else None
    for _ in trainer.run(images):
        if args.stop_after and trainer.seconds > 60 * args.stop_after:
            trainer.save()
            break


if __name__ == "__main__":
    main()
