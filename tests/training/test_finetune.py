"""Fine-tuning: split, judged, best kept, registered, resumed."""

import json
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain, repeat
from pathlib import Path

import pytest
import torch
from torch import nn

from napari_sam.core.modeling.micro import MicroSam
from napari_sam.core.modeling.sam import build_sam
from napari_sam.core.network import load_model
from napari_sam.core.registered import provenance, registered
from napari_sam.core.registry import get_spec
from napari_sam.errors import ModelError, TrainingError
from napari_sam.evaluation.params import EvaluationParams
from napari_sam.progress import finish
from napari_sam.training import finetune
from napari_sam.training.adapters import (
    adapted_layers,
    choose_learners,
    merge_adapters,
    trained_share,
)
from napari_sam.training.finetune import fine_tune, split
from napari_sam.training.params import FinetuneParams
from napari_sam.training.validation import Figures, validate
from tests.training.small import SMALL, SMALL_SAM, drawn_sample

PARAMS = FinetuneParams(steps=2, validate_every=1, crop=64, crops=1, crop_objects=2, device="cpu")
SAMPLES = [drawn_sample("a"), drawn_sample("b")]


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAPARI_SAM_MODELS", str(tmp_path / "models"))
    threads = torch.get_num_threads()
    monkeypatch.setattr(torch, "set_num_threads", lambda _: threads)


def judged(monkeypatch: pytest.MonkeyPatch, *scores: float) -> None:
    """Validations find these, then the last one again and again."""
    found: Iterator[float] = chain(scores, repeat(scores[-1]))
    monkeypatch.setattr(
        finetune, "validate", lambda *_, **__: Figures(*[next(found)] * 4, objects=3)
    )


def test_the_best_weights_become_a_model_that_loads(tmp_path: Path, monkeypatch):
    judged(monkeypatch, 0.5, 0.7, 0.6)
    result = finish(fine_tune(SAMPLES, "mine", tmp_path / "run", PARAMS))
    assert (result.step, result.before.click, result.after.click) == (1, 0.5, 0.7)
    assert "| 1 click | 0.500 | 0.700 | +0.200 |" in result.to_markdown()
    assert get_spec("mine") == result.spec
    model, base = load_model(get_spec("mine")), load_model(get_spec("tiny"))
    same = {n for n, v in base.state_dict().items() if torch.equal(v, model.state_dict()[n])}
    changed = {n.split(".")[0] for n in set(base.state_dict()) - same}
    assert changed == {"prompt_encoder", "mask_decoder"}
    made = provenance("mine")
    assert made["base"] == "tiny" and made["images"] == ["a", "b"] and len(made["set_aside"]) == 1
    assert made["params"]["scope"] == "decoder"


def test_no_gain_is_no_model_and_ends_early(tmp_path: Path, monkeypatch):
    judged(monkeypatch, 0.5, 0.4)
    params = replace(PARAMS, steps=9, patience=2)
    result = finish(fine_tune(SAMPLES, "mine", tmp_path / "run", params))
    assert result.spec is None and result.step == 0 and registered() == {}
    lines = (tmp_path / "run" / "validation.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [0, 1, 2]


def test_a_run_that_was_stopped_goes_on(tmp_path: Path, monkeypatch):
    judged(monkeypatch, 0.5, 0.6, 0.7)
    job = fine_tune(SAMPLES, "mine", tmp_path / "run", PARAMS)
    while next(job).message != "step 2":
        pass
    job.close()
    judged(monkeypatch, 0.55)
    result = finish(fine_tune(SAMPLES, "mine", tmp_path / "run", PARAMS))
    assert (result.before.click, result.after.click, result.step) == (0.5, 0.6, 1)


def test_names_and_images_are_refused_before_the_work(tmp_path: Path):
    with pytest.raises(ModelError, match="published"):
        next(fine_tune(SAMPLES, "tiny", tmp_path / "run"))
    empty = replace(SAMPLES[0], labels=SAMPLES[0].labels * 0)
    with pytest.raises(TrainingError, match="none of 1 images has an object"):
        next(fine_tune([empty], "mine", tmp_path / "run"))


@pytest.mark.parametrize(
    ("names", "aside"),
    [(["a", "b", "c", "d", "e"], 1), (["a", "b"], 1), (["a#0", "a#1", "b#0"], None), (["a"], 1)],
)
def test_some_images_are_set_aside_and_stacks_stay_whole(names: list[str], aside: int | None):
    training, judged_on = split([drawn_sample(name) for name in names], PARAMS)
    assert training and judged_on
    if len(names) > 1:
        stems = [{s.name.partition("#")[0] for s in side} for side in (training, judged_on)]
        assert not stems[0] & stems[1]
        assert len(training) + len(judged_on) == len(names)
    assert aside is None or len(judged_on) == aside


def test_validation_judges_other_weights_and_leaves_no_trace():
    torch.manual_seed(0)
    model = MicroSam(SMALL).train()
    before = {n: v.clone() for n, v in model.state_dict().items()}
    others = {n: v * 0 for n, v in before.items()}
    spec, params = get_spec("tiny"), EvaluationParams(clicks=1)
    own = validate(model, spec, SAMPLES[:1], params)
    zeros = validate(model, spec, SAMPLES[:1], params, weights=others)
    assert own.objects == zeros.objects == 3
    assert own.box != zeros.box
    assert model.training and model.mask_decoder.iou_head.training
    assert all(torch.equal(v, before[n]) for n, v in model.state_dict().items())


@pytest.mark.parametrize("model", [lambda: MicroSam(SMALL), lambda: build_sam(SMALL_SAM)])
def test_low_rank_additions_begin_as_nothing_and_are_merged(model):
    torch.manual_seed(0)
    network: nn.Module = model().eval()
    names = list(network.state_dict())
    picture = torch.rand(1, 3, 64, 64) * 255

    def look() -> torch.Tensor:
        return network.encode_image(picture, canvas=(64, 64)).features

    before = look()
    choose_learners(network, "lora", rank=2)
    assert torch.equal(look(), before)
    assert 0 < trained_share(network) < 1
    learning = {n for n, p in network.named_parameters() if p.requires_grad}
    in_encoder = {n for n in learning if n.startswith("image_encoder.")}
    assert in_encoder and all(n.endswith((".up", ".down")) for n in in_encoder)
    with torch.no_grad():
        for layer in adapted_layers(network):
            layer.parametrizations.weight[0].up.normal_()
    changed = look()
    assert not torch.allclose(changed, before)
    merge_adapters(network)
    torch.testing.assert_close(look(), changed)
    assert sorted(network.state_dict()) == sorted(names)


def test_other_scopes():
    network = MicroSam(SMALL)
    choose_learners(network, "decoder")
    assert not any(p.requires_grad for p in network.image_encoder.parameters())
    assert all(p.requires_grad for p in network.mask_decoder.parameters())
    choose_learners(network, "all")
    assert trained_share(network) == 1
    with pytest.raises(TrainingError, match="scope"):
        choose_learners(network, "some")
    with pytest.raises(TrainingError, match="rank"):
        choose_learners(network, "lora", rank=0)
