"""The command ``finetune``: labelled images and a model in, a better registered model out."""

import argparse
import os
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from filelock import Timeout

from napari_sam.core.registry import DEFAULT_MODEL
from napari_sam.errors import TrainingError
from napari_sam.progress import Progress
from napari_sam.training.commands import wait_while
from napari_sam.training.finetune import FinetuneResult, fine_tune
from napari_sam.training.flags import add_flags, with_flags
from napari_sam.training.images import read_labelled
from napari_sam.training.params import FinetuneParams
from napari_sam.training.run_folder import PAUSE, lock_of, write_progress

STDIN = 0
PATIENCE_S = 60.0  # for a program that is ending in the same folder


def finetune(arguments: Sequence[str], *, prog: str) -> None:
    """Fine-tune a model and say what it has brought.

    Raises
    ------
    NapariSamError
        Nothing to learn from, no such model, or a name that cannot be taken.
    """
    given = _parser(prog).parse_args(arguments)
    folder = given.run or Path(f"{given.name}-finetune")
    lock = lock_of(folder)
    try:
        lock.acquire(timeout=PATIENCE_S if given.attended else 0)
    except Timeout as error:
        raise TrainingError(
            f"another program is training in {folder}: wait for its end, or choose another folder."
        ) from error
    with lock:
        _finetune(given, folder)


def _finetune(given: argparse.Namespace, folder: Path) -> None:
    params = with_flags(FinetuneParams(), given)
    window = Window() if given.attended else None
    samples = [sample for path in given.images for sample in read_labelled(path)]
    job = fine_tune(
        samples[: given.most_images],
        given.name,
        folder,
        params,
        base=given.model,
        weights=given.weights,
        replace_old=given.replace,
        pictures=given.attended,
    )
    left = window.left.is_set if window else lambda: False
    while not left():
        try:
            progress = next(job)
        except StopIteration as end:
            _report(end.value, given.name)
            return
        if window:
            write_progress(folder, progress)
        _say(progress, given.quiet)
        wait_while(folder / PAUSE, unless=left)
    job.close()  # keeps what was learned


class Window:
    """A window that has started this program: it goes first, and when it is gone, this ends.

    It holds the other end of standard input. That is closed by whoever wants an end, and by the
    system when the window is killed.
    """

    def __init__(self) -> None:
        self.left = threading.Event()
        if hasattr(os, "nice"):
            os.nice(10)
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        while os.read(STDIN, 1):  # sys.stdin has a lock that must be free at the end of Python
            pass
        self.left.set()


def _report(result: FinetuneResult, name: str) -> None:
    print("\n" + result.to_markdown())  # noqa: T201
    print(f"\nJudged on: {', '.join(result.validated_on)}")  # noqa: T201
    if result.spec is None:
        print("No weights were better than those it began with: nothing was registered.")  # noqa: T201
    else:
        print(f"Registered as {name} ({result.spec.file_name}): use it with --model {name}")  # noqa: T201


def _say(progress: Progress, quiet: bool) -> None:
    if not quiet and sys.stderr.isatty():
        share = f"{progress.done / progress.total:4.0%} " if progress.total else ""
        print(f"\r{share}{progress.message:<40}", end="", file=sys.stderr, flush=True)  # noqa: T201


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Fit a model to a few labelled images of your own. Some are set aside to"
        " choose by; the best weights become a model that --model and the dock know by its name."
        " The same command resumes.",
    )
    parser.add_argument("name", help="of the new model")
    parser.add_argument(
        "--images",
        type=Path,
        action="append",
        required=True,
        help="labelled images: a folder, an OME-Zarr, a pack, a bundle; may be given again",
    )
    parser.add_argument("--most-images", type=int, help="use only so many of them")
    parser.add_argument("--model", default=DEFAULT_MODEL, help="to begin with; see models")
    parser.add_argument("--weights", type=Path, help="a file of that model to begin with instead")
    parser.add_argument("--run", type=Path, help="folder of the run. Default: NAME-finetune")
    parser.add_argument(
        "--replace", action="store_true", help="take the place of a model of this name made here"
    )
    parser.add_argument(
        "--attended",
        action="store_true",
        help="for a window: low priority, progress and a picture as files in the folder of the"
        " run, and an end that can be resumed from when standard input is closed",
    )
    parser.add_argument("--quiet", action="store_true", help="say nothing before the end")
    add_flags(parser, FinetuneParams)
    return parser
