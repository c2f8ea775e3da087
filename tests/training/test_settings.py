"""Settings: refused where they make no sense, read from flags, each described."""

import argparse

import pytest

from napari_sam.errors import TrainingError
from napari_sam.training.commands import _train_parser
from napari_sam.training.flags import add_flags, described, with_flags
from napari_sam.training.params import (
    RECIPES,
    CropShape,
    FinetuneParams,
    PromptMix,
    TrainParams,
)


@pytest.mark.parametrize(
    "changes",
    [
        {"minutes": 0},
        {"steps": 0},
        {"accumulate": 0},
        {"drop_path": 1.0},
        {"layer_decay": 0.0},
        {"first_rounds": 5, "last_rounds": 4},
        {"last_rounds": 10, "mask_only_rounds": 2},
        {"mask_only_rounds": 3},
        {"crops": ()},
        {"working_sides": (900, 800)},
    ],
    ids=str,
)
def test_settings_that_cannot_be_are_named(changes: dict[str, object]):
    with pytest.raises(TrainingError, match=next(iter(changes)).split("_")[-1]):
        TrainParams(**changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["12x1x1", "256x4", "256x4x65", "256x0x6", "axbxc", "256x4x6:-1"])
def test_kinds_of_crops_that_cannot_be(text: str):
    with pytest.raises(TrainingError):
        CropShape.parse(text)


@pytest.mark.parametrize("text", ["centre", "centre=x", "middle=1", "centre=0", "centre=-1"])
def test_mixes_of_prompts_that_cannot_be(text: str):
    with pytest.raises(TrainingError):
        PromptMix.parse(text)


@pytest.mark.parametrize("params", [TrainParams, FinetuneParams])
def test_every_setting_is_described(params: type):
    assert all(len(text) > 5 for text in described(params).values())


def test_flags_change_what_they_name_and_nothing_else():
    parser = _train_parser("train")
    words = "run --recipe sam --drop-path 0.1 --recompute --crops 64x2x64,128x1x2:3 --steps 5"
    given = parser.parse_args([*words.split(), "--prompts", "centre=1,tight_box=3"])
    params = with_flags(RECIPES[given.recipe], given)
    assert (params.drop_path, params.recompute, params.steps) == (0.1, True, 5)
    assert params.crops == (CropShape(64, 2, 64, 1.0), CropShape(128, 1, 2, 3.0))
    assert (params.prompts.centre, params.prompts.tight_box, params.prompts.random) == (1, 3, 0)
    assert params.layer_decay == RECIPES["sam"].layer_decay == 0.8
    assert params.mask_only_rounds == 2 and params.last_rounds == 9


def test_a_wrong_flag_is_said_in_our_words(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        _train_parser("train").parse_args(["run", "--crops", "12x1"])
    assert "write SIZExIMAGESxOBJECTS" in capsys.readouterr().err


def test_choices_are_offered():
    parser = argparse.ArgumentParser()
    add_flags(parser, FinetuneParams)
    assert "{decoder,lora,all}" in parser.format_help()


def test_the_rate_of_fine_tuning_suits_what_learns():
    scopes = ("decoder", "lora", "all")
    rates = [FinetuneParams(scope=s).training((640, 1024), 4.0).learning_rate for s in scopes]
    assert rates == [1e-3, 3e-4, 3e-4]
    assert FinetuneParams(learning_rate=2e-5).training((640, 1024), 4.0).learning_rate == 2e-5
    with pytest.raises(TrainingError, match="learning_rate"):
        FinetuneParams(learning_rate=-1.0)
