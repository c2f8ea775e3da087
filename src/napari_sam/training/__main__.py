"""Train the bundled model's architecture from scratch.

One process: ``python -m napari_sam.training RUN --pack PACK``. Several on one machine, one thread
each (on CPUs better than one process with several threads): ``torchrun --nproc-per-node 2 -m
napari_sam.training RUN --pack PACK --threads 1``.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # before torch: see core/threads.py

import argparse
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import load_file

from napari_sam.core.architecture import MicroConfig
from napari_sam.core.modeling.micro import MicroSam
from napari_sam.core.registry import get_spec
from napari_sam.training.checkpoint import export_weights, load_checkpoint, save_checkpoint
from napari_sam.training.dataset import TrainingImages
from napari_sam.training.distributed import join_ranks
from napari_sam.training.loop import Trainer
from napari_sam.training.params import ScoreParams, TrainParams
from napari_sam.training.scores import fit_scores

SCORE_HEAD = "iou_head."


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
        "--fit-scores",
        action="store_true",
        help="fit the head that predicts the IoU to this run's averaged weights, and keep it there",
    )
    parser.add_argument(
        "--start-from", type=Path, help="exported weights (safetensors) that a new run starts from"
    )
    parser.add_argument("--held-out", type=float, default=TrainParams.held_out)
    parser.add_argument("--first-rounds", type=int, default=TrainParams.first_rounds)
    parser.add_argument("--last-rounds", type=int, default=TrainParams.last_rounds)
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
        held_out=args.held_out,
        first_rounds=args.first_rounds,
        last_rounds=args.last_rounds,
    )
    architecture = get_spec("tiny").architecture
    assert isinstance(architecture, MicroConfig)
    model = MicroSam(architecture)
    if args.start_from:
        load_but_scores(model, load_file(args.start_from))
    images = TrainingImages.from_packs(args.pack) if args.pack else None
    if images is not None and params.held_out:
        images, _ = images.split(params.held_out)
    if args.fit_scores:
        if images is None:
            parser.error("--fit-scores needs a --pack")
        fit_scores_of(args.run, model, images, replace(ScoreParams(), seed=args.seed))
        return
    trainer = Trainer(model, params, args.run)
    for _ in trainer.run(images):
        if args.stop_after and trainer.seconds > 60 * args.stop_after:
            trainer.save()
            break


def fit_scores_of(run: Path, model: MicroSam, images: TrainingImages, params: ScoreParams) -> None:
    """Fit the head to the run's averaged weights; the checkpoint keeps it in them."""
    state = load_checkpoint(run / "checkpoint.pt")
    if state is None:
        raise SystemExit(f"{run} has no checkpoint")
    load_but_scores(model, state["ema"])
    for progress in fit_scores(model.eval(), images, params):
        print(progress.message, progress.done, "of", progress.total, flush=True)  # noqa: T201
    head = {n: v for n, v in model.state_dict().items() if SCORE_HEAD in n}
    others = {n: v for n, v in state["ema"].items() if SCORE_HEAD not in n}
    save_checkpoint(run / "checkpoint.pt", state | {"ema": others | head}, params)


def load_but_scores(model: MicroSam, weights: dict[str, torch.Tensor]) -> None:
    """Load weights; the head that predicts the IoU only if it has the model's form."""
    own = model.state_dict()
    head = {n: v for n, v in own.items() if SCORE_HEAD in n}
    if all(n in weights and weights[n].shape == v.shape for n, v in head.items()):
        head = {}
    model.load_state_dict({n: v for n, v in weights.items() if n in own} | head)


if __name__ == "__main__":
    main()
