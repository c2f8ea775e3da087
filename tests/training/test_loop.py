"""The loop on a tiny network and one image: it learns, resumes after a kill, ranks agree."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from napari_sam.core.modeling.micro import MicroSam
from napari_sam.errors import TrainingError
from napari_sam.training.checkpoint import export_weights, load_checkpoint
from napari_sam.training.loop import Trainer
from napari_sam.training.params import PromptMix
from tests.training.small import IMAGES, PARAMS, SMALL, SMALL_SAM, advance, make_trainer


def read_log(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def test_steps_change_weights_and_average(tmp_path: Path):
    trainer = make_trainer(tmp_path)
    before = trainer.model.mask_decoder.output_tokens.detach().clone()
    advance(trainer, 3)
    assert trainer.step == 3
    assert not torch.equal(before, trainer.model.mask_decoder.output_tokens)
    assert set(trainer.ema) == set(trainer.model.state_dict())
    assert not torch.equal(
        trainer.ema["mask_decoder.output_tokens"], trainer.model.mask_decoder.output_tokens
    )


def test_a_run_of_so_many_steps_is_the_same_each_time(tmp_path: Path):
    finished = []
    for name in ("first", "again"):
        trainer = make_trainer(tmp_path / name, steps=3, drop_path=0.5)
        assert [p.done for p in trainer.run(IMAGES)] == [1, 2, 3]
        finished.append(trainer.model.state_dict())
    assert all(torch.equal(finished[1][name], value) for name, value in finished[0].items())


def test_a_resumed_run_ends_as_one_that_was_never_stopped(tmp_path: Path):
    whole = make_trainer(tmp_path / "whole", steps=4)
    advance(whole, 4)
    first = make_trainer(tmp_path / "parts", steps=4)
    advance(first, 2)
    first.save()
    second = make_trainer(tmp_path / "parts", steps=4)
    assert second.step == 2
    advance(second, 2)
    for name, value in whole.model.state_dict().items():
        assert torch.equal(second.model.state_dict()[name], value), name


def test_what_the_consumer_does_between_steps_is_no_training_time(tmp_path: Path):
    trainer = make_trainer(tmp_path)
    running = trainer.run(IMAGES)
    next(running)
    before = trainer.seconds
    started = time.monotonic()
    time.sleep(0.3)
    next(running)
    assert trainer.seconds - before <= time.monotonic() - started - 0.3 + 0.01
    running.close()


def test_the_end_of_the_minutes_ends_the_run(tmp_path: Path):
    trainer = make_trainer(tmp_path, minutes=1e-4)
    assert len(list(trainer.run(IMAGES))) == 1
    assert trainer.checkpoint.exists()


@pytest.mark.parametrize(
    "changes",
    [
        {"loss": "sam", "mask_only_rounds": 2},
        {"recompute": True, "precision": "float32"},
        {"prompts": PromptMix.parse("coarse_mask=1"), "auxiliary_weight": 0.0},
    ],
    ids=str,
)
def test_settings_train(tmp_path: Path, changes: dict[str, object]):
    trainer = make_trainer(tmp_path, **changes)
    advance(trainer, 1)
    assert all(torch.isfinite(p).all() for p in trainer.model.parameters())


def test_a_sam_is_trained_like_our_own(tmp_path: Path):
    from napari_sam.core.modeling.sam import build_sam

    torch.manual_seed(0)
    trainer = Trainer(build_sam(SMALL_SAM), PARAMS, tmp_path)
    before = {n: p.detach().clone() for n, p in trainer.model.named_parameters()}
    advance(trainer, 2)
    changed = {n for n, p in trainer.model.named_parameters() if not torch.equal(p, before[n])}
    assert {n.split(".")[0] for n in changed} == {
        "image_encoder",
        "prompt_encoder",
        "mask_decoder",
    }


def test_steps_of_several_batches_average_their_gradients(tmp_path: Path):
    """Two batches a step, the same twice, are one batch a step."""
    trainer = make_trainer(tmp_path, accumulate=2)
    asked: list[float] = []
    backward = trainer._backward

    def watched(batch: object, part: int) -> dict[str, float]:
        notes = backward(batch, part)  # type: ignore[arg-type]
        gradient = trainer.model.mask_decoder.output_tokens.grad
        asked.append(float(gradient.abs().sum()))
        return notes

    trainer._backward = watched  # type: ignore[method-assign]
    advance(trainer, 1)
    assert len(asked) == 2 and asked[0] != asked[1]
    assert trainer.step == 1


def test_gradients_that_are_no_numbers_are_said(tmp_path: Path):
    trainer = make_trainer(tmp_path)
    with torch.no_grad():
        trainer.model.mask_decoder.output_tokens.fill_(torch.nan)
    with pytest.raises(TrainingError, match="lower learning rate"):
        advance(trainer, 1)


def test_a_checkpoint_of_another_network_is_refused(tmp_path: Path):
    from napari_sam.core.modeling.sam import build_sam

    trainer = make_trainer(tmp_path)
    trainer.save()
    with pytest.raises(TrainingError, match="another network"):
        Trainer(build_sam(SMALL_SAM), PARAMS, tmp_path)


def test_export_is_half_precision_and_loads(tmp_path: Path):
    from safetensors.torch import load_file

    trainer = make_trainer(tmp_path)
    advance(trainer, 1)
    trainer.save()
    state = load_checkpoint(trainer.checkpoint)
    assert state is not None
    export_weights(state, tmp_path / "weights.safetensors")
    loaded = load_file(tmp_path / "weights.safetensors")
    assert {v.dtype for v in loaded.values()} == {torch.float16}
    assert (tmp_path / "weights.safetensors").stat().st_mode & 0o777 == 0o644
    MicroSam(SMALL).load_state_dict({k: v.float() for k, v in loaded.items()}, strict=True)


def start(folder: Path, *settings: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.training.small", str(folder), *settings],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"} | environment,
    )


def test_a_run_killed_twice_has_the_loss_curve_of_one_that_was_not(tmp_path: Path):
    settings = ("steps=7", "checkpoint_seconds=0")
    reached = 0
    for kill_after in (2, 2):
        with start(tmp_path, *settings) as process:
            assert process.stdout is not None
            begun = int(process.stdout.readline().split()[1])
            assert begun >= reached - 1  # at most the step that was being written is lost
            for _ in range(kill_after):
                reached = int(process.stdout.readline())
            process.send_signal(signal.SIGKILL)
    torch.manual_seed(0)
    rest = make_trainer(tmp_path, precision="float32", log_every=1, steps=7, checkpoint_seconds=0.0)
    assert rest.step >= 3
    list(rest.run(IMAGES))
    whole = make_trainer(tmp_path / "whole", precision="float32", log_every=1, steps=7)
    list(whole.run(IMAGES))
    assert [line["step"] for line in read_log(tmp_path)] == [1, 2, 3, 4, 5, 6, 7]
    losses = [[line["loss"] for line in read_log(f)] for f in (tmp_path, tmp_path / "whole")]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)


def test_two_processes_learn_as_one_with_the_same_batches(tmp_path: Path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    ranks = [
        start(
            tmp_path / "two",
            "steps=3",
            RANK=str(rank),
            WORLD_SIZE="2",
            MASTER_ADDR="127.0.0.1",
            MASTER_PORT=port,
        )
        for rank in range(2)
    ]
    alone = make_trainer(tmp_path / "one", precision="float32", log_every=1, steps=3, accumulate=2)
    list(alone.run(IMAGES))
    said = [process.communicate()[0].splitlines()[-1] for process in ranks]
    assert [process.returncode for process in ranks] == [0, 0]
    assert said == ["left:", "left:"]  # a thread of gloo may abort the end of the interpreter
    together = read_log(tmp_path / "two")
    assert [line["loss"] for line in together] == pytest.approx(
        [line["loss"] for line in read_log(tmp_path / "one")], rel=1e-4
    )
    state = load_checkpoint(tmp_path / "two" / "checkpoint.pt")
    assert state is not None
    for name, value in alone.model.state_dict().items():
        torch.testing.assert_close(state["model"][name], value, rtol=1e-3, atol=1e-4, msg=name)


def test_the_log_is_lines_of_json_with_the_time_waited_for_data(tmp_path: Path):
    advance(make_trainer(tmp_path, log_every=2), 4)
    lines = read_log(tmp_path)
    assert [line["step"] for line in lines] == [2, 4]
    assert {"loss", "auxiliary", "score_error", "data_wait"} <= set(lines[0])
    assert 0 < lines[0]["data_wait"] <= lines[0]["seconds_per_step"]


def test_what_a_killed_run_wrote_after_its_checkpoint_is_written_again(tmp_path: Path):
    trainer = make_trainer(tmp_path, log_every=1)
    advance(trainer, 1)
    trainer.save()
    advance(trainer, 1)
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('{"step": 3, "lo')
    make_trainer(tmp_path, log_every=1)
    assert [line["step"] for line in read_log(tmp_path)] == [1]
