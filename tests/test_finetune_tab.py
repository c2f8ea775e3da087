"""The tab Fine-tune: state, the program that trains and what is said of it; no real training."""

import subprocess
import sys
import threading
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from napari_sam import _finetune_job
from napari_sam._finetune import Finetune, FinetuneOrder, FinetuneSettings, LabelledLayer, figures
from napari_sam._finetune_job import command_of, run_order, write_layers
from napari_sam._jobs import consume
from napari_sam._predict import Plane
from napari_sam._session import Session
from napari_sam.core.registered import register, registered
from napari_sam.errors import TrainingError
from napari_sam.progress import Progress, finish
from napari_sam.training import run_folder
from napari_sam.training.images import read_labelled
from napari_sam.training.run_folder import RunReport, read_report, write_progress

FAKE = Path(__file__).with_name("fake_finetune.py")
FIGURES = {"click": 0.5, "box": 0.6, "last_click": 0.7}


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NAPARI_SAM_MODELS", str(tmp_path / "models"))
    monkeypatch.setattr(_finetune_job, "POLL_S", 0.02)
    monkeypatch.setattr(_finetune_job, "READ_EVERY_S", 0.0)
    return tmp_path


def squares(count: int, side: int = 12) -> np.ndarray:
    labels = np.zeros((20, 20 * count), np.uint16)
    for number in range(count):
        labels[4 : 4 + side, 20 * number + 4 : 20 * number + 4 + side] = number + 1
    return labels


def pair(labels: np.ndarray, name: str = "cells") -> LabelledLayer:
    image = (labels > 0).astype(np.uint8) * 200
    plane = Plane(None, image, (image.ndim - 2, image.ndim - 1), (0,) * image.ndim)
    return LabelledLayer(f"token of {name}", name, plane, labels)


def fake_command(steps: int):
    return lambda order: [
        sys.executable, str(FAKE), order.name, "--run", str(order.folder),
        "--images", str(order.images), "--steps", str(steps),
    ]  # fmt: skip


def order_of(*pairs: LabelledLayer, **settings: object) -> FinetuneOrder:
    return FinetuneOrder(FinetuneSettings(**settings), "tiny", None, pairs)


def state() -> Finetune:
    finetune = Finetune(Session(weights_needed=False))
    finetune.orders = []
    finetune.order_requested.connect(finetune.orders.append)
    return finetune


# --- layers to files -----------------------------------------------------------------------------


def test_layers_become_a_folder_that_training_reads(tmp_path: Path):
    stack = np.zeros((4, 20, 100), np.uint16)
    stack[1], stack[3] = squares(5), squares(5)
    finish(write_layers([pair(squares(5), "a/b"), pair(stack, "stack")], tmp_path))
    samples = {sample.name.partition("/")[2]: sample for sample in read_labelled(tmp_path)}
    assert sorted(samples) == ["0-a_b", "1-stack#1", "1-stack#3"]
    assert (samples["1-stack#3"].labels == squares(5)).all()
    assert (samples["0-a_b"].picture[..., 0] > 0).tolist() == (squares(5) > 0).tolist()


def test_colours_and_large_numbers_of_labels_are_written(tmp_path: Path):
    labels = squares(6).astype(np.int64) * 1_000_000
    colours = np.repeat((labels > 0).astype(np.uint8)[..., None] * 99, 3, 2)
    plane = Plane(None, colours, (0, 1), (0, 0), rgb=True)
    finish(write_layers([LabelledLayer("t", "rgb", plane, labels)], tmp_path))
    (sample,) = read_labelled(tmp_path)
    assert sample.labels.max() == 6 and sample.picture.shape == (20, 120, 3)


def test_too_few_or_too_small_objects_are_refused(tmp_path: Path):
    with pytest.raises(TrainingError, match="2 objects of at least 40 pixels are too few"):
        finish(write_layers([pair(squares(2))], tmp_path))
    with pytest.raises(TrainingError, match="0 objects"):
        finish(write_layers([pair(squares(9, side=5))], tmp_path))


def test_of_a_long_stack_some_planes_are_taken(tmp_path: Path):
    stack = np.stack([squares(5)] * 40)
    finish(write_layers([pair(stack)], tmp_path))
    names = sorted(int(path.stem.partition("#")[2]) for path in (tmp_path / "labels").iterdir())
    assert len(names) == 16 and names[0] < 3 and names[-1] > 36


# --- the program ---------------------------------------------------------------------------------


def test_the_program_gets_what_was_chosen():
    order = order_of(name="mine", scope="lora", minutes=2.5, replace_old=True, data="folder",
                     folder="/some/where")  # fmt: skip
    words = command_of(replace(order, weights="/w.safetensors"))
    said = dict(pairwise(words))
    assert words[1:5] == ["-m", "napari_sam", "finetune", "mine"]
    assert said["--images"] == "/some/where" and said["--run"] == str(order.folder)
    assert said["--scope"] == "lora" and said["--minutes"] == "2.5" and said["--model"] == "tiny"
    assert said["--weights"] == "/w.safetensors" and words[-1] == "--replace"
    from napari_sam.training import command_finetune

    given = command_finetune._parser("x").parse_args(words[4:])  # it understands them
    assert given.attended and given.minutes == 2.5


def test_a_run_is_watched_stopped_and_goes_on_to_its_end(place: Path):
    order = order_of(pair(squares(6)), name="mine")
    stop = threading.Event()

    def look(progress: Progress) -> None:
        if isinstance(progress, RunReport) and progress.done >= 2:
            assert progress.total == 10_000 and progress.message.startswith("step")
            stop.set()

    run_folder.write_json(order.folder / run_folder.ORDER, order.to_json())
    job = lambda: run_order(order, command=fake_command(10_000))  # noqa: E731
    assert consume(job, look, stop).cancelled
    kept = int((order.folder / "steps").read_text())
    assert kept >= 2 and list(run_folder.unfinished()) == ["mine"] and not registered()
    again = FinetuneOrder.from_json(run_folder.unfinished()["mine"])
    assert again.pairs == () and again.images == order.images
    report = finish(run_order(again, command=fake_command(kept + 3)))
    assert len(report.log) == len(report.validations) == kept + 3 and report.picture is not None
    assert report.result["name"] == "mine" and "mine" in registered()
    assert figures(report)[0] == ("1 click", 0.5, 0.6)
    assert run_folder.unfinished() == {}


def test_what_the_program_says_is_the_error(place: Path):
    order = order_of(name="mine", data="folder", folder=str(place))
    order.folder.mkdir(parents=True)
    words = "import sys; print('a warning\\nnapari-sam: no labels', file=sys.stderr); sys.exit(8)"
    with pytest.raises(TrainingError, match=r"^no labels$"):
        finish(run_order(order, command=lambda _: [sys.executable, "-S", "-c", words]))
    silent = "raise SystemExit(3)"
    with pytest.raises(TrainingError, match="code 3"):
        finish(run_order(order, command=lambda _: [sys.executable, "-S", "-c", silent]))


def test_a_folder_is_read_while_it_is_written(tmp_path: Path):
    assert read_report(tmp_path).log == ()
    (tmp_path / "log.jsonl").write_text('{"seconds": 1, "loss": 2}\n{"seconds": 2, "lo')
    write_progress(tmp_path, Progress(3, 9, "step 3"))
    report = read_report(tmp_path)
    assert (report.done, report.total, report.message) == (3, 9, "step 3")
    assert len(report.log) == 1 and report.result is None
    (tmp_path / "progress.json").write_text('{"do')
    assert read_report(tmp_path, report).done == 3


# --- the state -----------------------------------------------------------------------------------


def test_nothing_starts_before_it_can_succeed(place: Path):
    finetune = state()
    for changes, words in (
        ({"name": "tiny"}, "published"),
        ({"name": "a b"}, "no name for a model"),
        ({"name": "mine"}, "Labels layer of the same size"),
        ({"data": "folder"}, "Choose a folder first"),
    ):
        finetune.change(**changes)
        finetune.start()
        assert words in finetune.said and not finetune.orders
    finetune.change(data="layers")
    finetune.find_pairs = lambda: (pair(squares(3), "a"), pair(squares(3), "b"))
    finetune.look()
    finetune.take("token of a", False)
    (place / "w").write_bytes(b"w")
    register("mine", place / "w", like="tiny")
    finetune.start()
    assert "choose another name, or replace it" in finetune.said
    finetune.change(replace_old=True)
    finetune.start()
    (order,) = finetune.orders
    assert [one.name for one in order.pairs] == ["b"] and order.base == "tiny"


def test_a_stopped_run_is_offered_resumed_or_deleted(place: Path):
    finetune = state()
    finetune.change(name="mine", data="folder", folder=str(place))
    finetune.start()
    again = state()  # another sitting: the window was killed
    assert again.unfinished == ("mine",)
    again.change(name="mine", data="folder", folder="/elsewhere")
    again.start()
    assert "was stopped before its end" in again.said and not again.orders
    run_folder.pause(finetune.orders[0].folder, True)
    again.resume("mine")
    (order,) = again.orders
    assert order.images == place and not (order.folder / run_folder.PAUSE).exists()
    again.set_job(busy=True)
    assert again.unfinished == ()
    again.set_paused(True)
    assert (order.folder / run_folder.PAUSE).exists() and "Paused" in again.said
    again.set_job(busy=False)
    again.delete("mine")
    assert again.unfinished == () and not order.folder.exists()


def test_layers_that_were_never_written_cannot_be_resumed(place: Path):
    finetune = state()
    finetune.find_pairs = lambda: (pair(squares(3)),)
    finetune.look()
    finetune.change(name="mine")
    finetune.start()
    again = state()
    again.resume("mine")
    assert not again.orders and "never written" in again.said


def test_the_new_model_is_chosen(place: Path):
    finetune = state()
    (place / "w").write_bytes(b"w")
    register("mine", place / "w", like="tiny")
    result = {"name": "mine", "before": FIGURES, "after": FIGURES}
    finetune.finished(RunReport(1, 1, result=result))
    assert finetune.session.model.name == "mine" and "ready and chosen" in finetune.session.message
    finetune.finished(RunReport(1, 1, result=result | {"name": None}))
    assert "no model was made" in finetune.said


# --- the real program ----------------------------------------------------------------------------

WINDOW = """
from napari_sam._finetune import FinetuneOrder
from napari_sam._finetune_job import run_order
from napari_sam.training import run_folder
order = FinetuneOrder.from_json(run_folder.unfinished()["mine"])
for progress in run_order(order):
    print(progress.message, flush=True)
"""


@pytest.mark.kill
def test_the_real_program_ends_with_its_window_and_goes_on(place: Path):
    order = order_of(name="mine", minutes=0.3)
    finish(write_layers([pair(squares(6, 16), "a"), pair(squares(6, 16), "b")], order.images))
    run_folder.write_json(order.folder / run_folder.ORDER, order.to_json())
    with subprocess.Popen([sys.executable, "-c", WINDOW], stdout=subprocess.PIPE) as window:
        assert window.stdout is not None
        for line in window.stdout:
            if line.startswith(b"step"):
                break
        window.kill()
    with run_folder.lock_of(order.folder).acquire(timeout=120):  # the program has ended
        assert (order.folder / "checkpoint.pt").exists()
        assert list(run_folder.unfinished()) == ["mine"]
    report = finish(run_order(order))
    assert report.result is not None and len(report.validations) >= 2
    assert (order.folder / run_folder.PICTURE).exists()
    assert run_folder.unfinished() == {}
