"""The commands that train, as functions of their arguments: ``train``, ``pretrain``, ``pack``.

Knows argparse; what is done is in ``loop``, ``mae``, ``bundle`` and ``scores``. Progress goes to
standard output, a line for every line of the log.
"""

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from napari_sam.core.modeling.micro import MicroSam
from napari_sam.core.registry import DEFAULT_MODEL, get_spec
from napari_sam.errors import TrainingError
from napari_sam.progress import Progress
from napari_sam.training.bundle import MOST_MEGABYTES, write_bundle
from napari_sam.training.checkpoint import export_weights, load_checkpoint, save_checkpoint
from napari_sam.training.crop_shape import CropShape
from napari_sam.training.distributed import join_ranks, rank
from napari_sam.training.flags import add_flags, with_flags
from napari_sam.training.images import TrainingImages
from napari_sam.training.loop import Trainer
from napari_sam.training.params import RECIPES, PromptMix, ScoreParams, TrainParams
from napari_sam.training.run_folder import PAUSE
from napari_sam.training.scores import fit_scores
from napari_sam.training.weights import SCORE_HEAD, load_fitting, new_model, start_from


def train(arguments: Sequence[str], *, prog: str) -> None:
    """Train a model, or export what a run has come to.

    Raises
    ------
    NapariSamError
        See ``Trainer`` and ``TrainingImages``.
    """
    given = _train_parser(prog).parse_args(arguments)
    if given.export:
        export_weights(require_checkpoint(given.run), given.export)
        return
    torch.set_num_threads(given.threads)
    join_ranks()
    params = with_flags(RECIPES[given.recipe], given)
    model = new_model(get_spec(given.model), seed=params.seed)
    if given.start_from:
        start_from(model, given.start_from)
    images = None
    if given.pack:
        images = TrainingImages.from_packs(given.pack, manual_weight=params.manual_weight)
        if params.held_out:
            images, _ = images.split(params.held_out)
    if given.fit_scores:
        if images is None:
            raise TrainingError("--fit-scores needs a --pack: it looks at whole images.")
        _fit_scores_of(given.run, model, images, replace(ScoreParams(), seed=params.seed))
        return
    trainer = Trainer(model, params, given.run)
    follow(trainer, images, stop_after=given.stop_after, piece=given.piece)


def follow(
    trainer: Trainer,
    images: Any,
    *,
    stop_after: float | None = None,
    piece: float | None = None,
) -> None:
    """Run to the end, or to a stop that can be resumed from; waits while there is a pause file.

    Parameters
    ----------
    trainer, images
        The run.
    stop_after
        Stop after so many minutes of the whole run.
    piece
        Stop after so many minutes from now.
    """
    started = time.monotonic()
    for progress in trainer.run(images):
        if trainer.step % trainer.params.log_every == 0:
            _say(progress, trainer.folder)
        wait_while(trainer.folder / PAUSE)
        over = stop_after is not None and trainer.seconds > 60 * stop_after
        if over or (piece is not None and time.monotonic() - started > 60 * piece):
            trainer.save()
            break


def wait_while(pause: Path, *, unless: Callable[[], bool] = lambda: False) -> None:
    """Return when there is no such file (any more), or for another reason."""
    while pause.exists() and not unless():
        time.sleep(0.2)


def pack(arguments: Sequence[str], *, prog: str) -> None:
    """Write labelled images to one file, for a machine that is lent for minutes."""
    parser = argparse.ArgumentParser(prog=prog, description=pack.__doc__)
    parser.add_argument("file", type=Path, help="what to write, such as images.zip")
    parser.add_argument("--pack", type=Path, action="append", required=True, help=_PACK_HELP)
    parser.add_argument("--megabytes", type=float, default=MOST_MEGABYTES, help="at most so many")
    given = parser.parse_args(arguments)
    images = TrainingImages.from_packs(given.pack)
    job = write_bundle(images.samples, given.file, most_megabytes=given.megabytes)
    while True:
        try:
            next(job)
        except StopIteration as end:
            report = end.value
            break
    left = f", {report.left_out} left out for the size" if report.left_out else ""
    print(f"{given.file}: {report.items} images, {report.size / 1e6:.1f} MB{left}")  # noqa: T201


_PACK_HELP = "labelled images: a folder, an OME-Zarr, a bundle; may be given again"


def _train_parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Train a model on labelled images and drawn scenes. The same command resumes."
        " On CPUs several processes are faster than one with several threads: torchrun"
        " --nproc-per-node 2 -m napari_sam.training RUN --threads 1 ...",
    )
    parser.add_argument("run", type=Path, help="folder of the run; resumed when it exists")
    parser.add_argument("--pack", type=Path, action="append", default=[], help=_PACK_HELP)
    parser.add_argument("--model", default=DEFAULT_MODEL, help="whose architecture; see models")
    parser.add_argument(
        "--start-from", type=Path, help="weights that a new run starts from, or an encoder's alone"
    )
    parser.add_argument(
        "--recipe", choices=RECIPES, default="small", help="defaults of the settings below"
    )
    parser.add_argument("--threads", type=int, default=2, help="of each process")
    parser.add_argument(
        "--stop-after", type=float, help="stop (to resume later) after so many minutes of the run"
    )
    parser.add_argument("--piece", type=float, help="stop after so many minutes from now")
    parser.add_argument(
        "--fit-scores",
        action="store_true",
        help="fit the head that predicts the IoU to this run's averaged weights, and keep it there",
    )
    parser.add_argument("--export", type=Path, help="write the averaged weights and stop")
    add_flags(parser, TrainParams, readers={"crops": read_crops, "prompts": PromptMix.parse})
    return parser


def read_crops(text: str) -> tuple[CropShape, ...]:
    """Kinds of crops between commas."""
    return tuple(CropShape.parse(part) for part in text.split(","))


def require_checkpoint(run: Path) -> dict[str, Any]:
    """The state of a run.

    Raises
    ------
    TrainingError
        It has none yet.
    """
    state = load_checkpoint(run / "checkpoint.pt")
    if state is None:
        raise TrainingError(f"{run} has no checkpoint: train there first.")
    return state


def _fit_scores_of(
    run: Path, model: torch.nn.Module, images: TrainingImages, params: ScoreParams
) -> None:
    """Fit the head to the run's averaged weights; the checkpoint keeps it in them."""
    if not isinstance(model, MicroSam):
        raise TrainingError("--fit-scores is for the bundled architecture: SAM's head is trained.")
    state = require_checkpoint(run)
    ema = state["ema"]
    load_fitting(model, ema)
    _print_all(fit_scores(model.eval(), images, params))
    head = {n: v for n, v in model.state_dict().items() if SCORE_HEAD in n}
    others = {n: v for n, v in ema.items() if SCORE_HEAD not in n}
    save_checkpoint(run / "checkpoint.pt", state | {"ema": others | head}, params)


def _print_all(job: Iterator[Progress]) -> None:
    for progress in job:
        print(progress.message, progress.done, "of", progress.total, flush=True)  # noqa: T201


def _say(progress: Progress, folder: Path) -> None:
    if rank():
        return
    last = (folder / "log.jsonl").read_text().splitlines()[-1]
    share = progress.done / max(progress.total, 1)
    print(f"{share:.0%} {last}", flush=True)  # noqa: T201
