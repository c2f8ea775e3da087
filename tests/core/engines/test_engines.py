"""Engines: each gives the plain encoder's numbers, or an error says what to do."""

import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from napari_sam.core import engines
from napari_sam.core.engines import best_engine, installed_engines, require_engine, why_not
from napari_sam.core.engines.compiled import GRAPHS_KEPT, CompiledEncoder
from napari_sam.core.engines.fit import fit_image_encoder
from napari_sam.core.fused_vit import FusedViT
from napari_sam.core.hardware import cpu_has_bfloat16
from napari_sam.core.modeling.common import EncodedImage
from napari_sam.core.network import load_model
from napari_sam.core.packed_vit import PackedViT
from napari_sam.core.predictor import load_predictor
from napari_sam.core.prompts import Prompts
from napari_sam.core.registry import get_spec
from napari_sam.core.runtime import Runtime, choose_runtime
from napari_sam.errors import MissingExtraError, ModelError, OutOfMemoryError
from tests.golden.cases import SEED, TINY_VIT, VIT
from tests.golden.seeded import seeded_tensor

TINY = get_spec("tiny")
needs_openvino = pytest.mark.skipif(
    "openvino" not in installed_engines(), reason="needs the extra openvino"
)
needs_onnx = pytest.mark.skipif(
    "onnxruntime" not in installed_engines(), reason="needs the extra onnx"
)
needs_bfloat16 = pytest.mark.skipif(not cpu_has_bfloat16(), reason="needs a CPU with bfloat16")


@pytest.fixture(scope="module")
def bundled() -> nn.Module:
    return load_model(TINY).image_encoder  # type: ignore[return-value]


def farthest(got: torch.Tensor, expected: torch.Tensor) -> float:
    """Largest difference, in standard deviations of what is expected."""
    return float((got - expected).abs().max() / expected.std())


def fitted(engine: str, precision: str, encoder: nn.Module) -> nn.Module:
    model = nn.Module()
    model.image_encoder = encoder
    fit_image_encoder(model, TINY, Runtime(torch.device("cpu"), precision, engine))  # type: ignore[arg-type]
    return model.image_encoder


@pytest.mark.parametrize(
    ("engine", "precision", "bound"),
    [
        pytest.param("openvino", "fast", 0.2, marks=[needs_openvino, needs_bfloat16]),
        pytest.param("onnxruntime", "exact", 1e-4, marks=needs_onnx),
    ],
)
def test_an_engine_gives_the_bundled_encoders_numbers(
    bundled: nn.Module, engine: str, precision: str, bound: float
) -> None:
    encoder = fitted(engine, precision, bundled)
    pictures = torch.randn(2, 3, 160, 208)  # windows at the edges are padded
    with torch.inference_mode():
        expected = bundled(pictures)
        got = encoder(pictures)
        again = encoder(pictures[1:])
    assert isinstance(got, EncodedImage)
    for one, other, second in zip(got, expected, again, strict=True):
        assert one.dtype == torch.float32
        assert one.shape == other.shape
        assert farthest(one, other) <= bound
        assert (one - other).std() <= bound / 10 * other.std()
        assert torch.equal(second, one[1:])  # and what was given away is not overwritten


@pytest.mark.parametrize(
    ("engine", "config"),
    [
        pytest.param("openvino", VIT, marks=needs_openvino),
        pytest.param("onnxruntime", VIT, marks=needs_onnx),
        pytest.param("onnxruntime", TINY_VIT, marks=needs_onnx),
    ],
)
def test_an_engine_gives_sams_numbers(engine: str, config) -> None:
    from napari_sam.core.modeling.sam import build_sam

    plain = build_sam(config).eval().requires_grad_(False)
    for key, tensor in plain.state_dict().items():
        if tensor.is_floating_point():
            tensor.copy_(seeded_tensor(key, tuple(tensor.shape), SEED))
    picture = torch.randn(1, 3, config.image_size, config.image_size)
    expected = plain.image_encoder(picture)
    assert farthest(fitted(engine, "exact", plain.image_encoder)(picture), expected) <= 1e-4


# How graphs are kept


def halves(encoder: nn.Module, example: torch.Tensor) -> Callable[..., list[np.ndarray]]:
    """An engine that needs no compiler."""
    size = example.shape[2:]

    def run(picture: np.ndarray) -> list[np.ndarray]:
        assert picture.shape == (1, 3, *size)
        return [picture[..., ::2, ::2] * 0.5]

    return run


def test_a_graph_a_canvas_and_the_oldest_goes() -> None:
    made = []

    def compile_graph(encoder: nn.Module, example: torch.Tensor):
        made.append(tuple(example.shape[2:]))
        return halves(encoder, example)

    encoder = CompiledEncoder(nn.Identity(), compile_graph)
    sizes = [(16 * i, 16) for i in range(1, GRAPHS_KEPT + 2)]
    for size in (*sizes, sizes[-1], sizes[0]):
        assert encoder(torch.ones(2, 3, *size)).shape == (2, 3, size[0] // 2, 8)
    assert made == [*sizes, sizes[0]]


def test_a_model_with_one_canvas_is_compiled_at_once_and_lets_its_weights_go() -> None:
    import gc
    import weakref

    plain = nn.Linear(2, 2)
    gone = weakref.ref(plain)
    encoder = CompiledEncoder(plain, halves, canvas=(32, 32))
    del plain
    gc.collect()
    assert gone() is None
    assert encoder(torch.ones(1, 3, 32, 32)).shape == (1, 3, 16, 16)
    with pytest.raises(ValueError, match="another canvas"):
        encoder(torch.ones(1, 3, 16, 16))


def test_the_graph_does_not_inherit_the_callers_mode() -> None:
    seen = []

    def compile_graph(encoder: nn.Module, example: torch.Tensor):
        seen.append((torch.is_autocast_enabled("cpu"), torch.is_inference_mode_enabled()))
        return halves(encoder, example)

    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        CompiledEncoder(nn.Identity(), compile_graph)(torch.ones(1, 3, 16, 16))
    assert seen == [(False, False)]


def test_one_picture_at_a_time() -> None:
    busy, most = [], []

    def compile_graph(encoder: nn.Module, example: torch.Tensor):
        def run(picture: np.ndarray) -> list[np.ndarray]:
            busy.append(1)
            most.append(len(busy))
            threading.Event().wait(0.02)
            busy.pop()
            return [picture]

        return run

    encoder = CompiledEncoder(nn.Identity(), compile_graph)
    threads = [threading.Thread(target=encoder, args=(torch.ones(1, 3, 16, 16),)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 4


# Which engine, and which is not to be had


def test_torch_takes_the_packed_encoder_on_the_cpu_and_the_fused_one_elsewhere() -> None:
    from napari_sam.core.modeling.sam import build_sam

    for device, kind in (("cpu", PackedViT), ("meta", FusedViT)):
        model = build_sam(VIT).eval().requires_grad_(False)
        fit_image_encoder(model, get_spec("vit_b"), Runtime(torch.device(device), "exact"))
        assert isinstance(model.image_encoder, kind)


@pytest.mark.parametrize(
    ("engine", "line"),
    [("openvino", "pip install openvino"), ("onnxruntime", "pip install onnxruntime onnx")],
)
def test_an_engine_that_is_not_installed_has_its_pip_line(
    monkeypatch: pytest.MonkeyPatch, engine: str, line: str
) -> None:
    monkeypatch.setattr(engines, "find_spec", lambda name: None if name == engine else object())
    assert engine not in installed_engines()
    assert "torch" in installed_engines()
    with pytest.raises(MissingExtraError, match=line):
        load_predictor(backend=engine)  # type: ignore[arg-type]
    with pytest.raises(ImportError):
        require_engine(engine)  # type: ignore[arg-type]
    assert "auto" not in installed_engines()
    assert load_predictor(backend="auto", device="cpu").runtime.engine == "torch"


def test_unknown_backends_are_refused() -> None:
    with pytest.raises(ModelError, match="one of auto, torch, openvino, onnxruntime"):
        load_predictor(backend="tensorrt")  # type: ignore[arg-type]


@needs_openvino
def test_auto_takes_openvino_where_it_is_well_faster_and_nowhere_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    vit = get_spec("vit_b").architecture
    assert best_engine(vit, "exact", on_cpu=True) == "torch"
    monkeypatch.setattr(engines, "_OPENVINO_GAIN", {("vit", "exact"): 1.5})
    assert best_engine(vit, "exact", on_cpu=True) == "openvino"
    assert best_engine(vit, "fast", on_cpu=True) == "torch"
    assert best_engine(vit, "exact", on_cpu=False) == "torch"
    assert best_engine(TINY.architecture, "exact", on_cpu=True) == "torch"
    monkeypatch.setattr(engines, "find_spec", lambda name: None)
    assert best_engine(vit, "exact", on_cpu=True) == "torch"


def test_reasons_are_said_before_anything_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "cpu_has_bfloat16", lambda: False)
    monkeypatch.setattr(engines, "may_have_nvidia_gpu", lambda: False)
    assert why_not("torch", "exact") is None
    assert "this CPU lacks" in str(why_not("torch", "fast"))
    monkeypatch.setattr(engines, "may_have_nvidia_gpu", lambda: True)
    assert why_not("torch", "fast") is None
    assert "this CPU lacks" in str(why_not("openvino", "fast"))
    monkeypatch.setattr(engines, "cpu_has_bfloat16", lambda: None)
    assert why_not("openvino", "fast") is None
    assert "no bfloat16" in str(why_not("onnxruntime", "fast"))
    monkeypatch.setattr(engines, "has_apple_gpu", lambda: True)
    assert "Apple" in str(why_not("auto", "fast"))
    assert why_not("torch", "fast", device="cpu") is None
    assert why_not("openvino", "fast") is None
    assert "no faster" in str(why_not("torch", "smallest"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"precision": "smallest"}, "8-bit weights.*Use 'fast' or 'exact'"),
        ({"precision": "fast", "backend": "onnxruntime"}, "Use precision 'exact', or the backend"),
        ({"device": "cuda", "backend": "openvino"}, "computes on the CPU here, not on 'cuda'"),
        ({"device": "mps", "backend": "onnxruntime"}, "computes on the CPU here, not on 'mps'"),
    ],
)
def test_combinations_that_cannot_be_are_errors(
    monkeypatch: pytest.MonkeyPatch, arguments: dict[str, str], words: str
) -> None:
    monkeypatch.setattr(engines, "find_spec", lambda name: object())
    with pytest.raises(ModelError, match=words):
        load_predictor(**arguments)  # type: ignore[arg-type]


@needs_openvino
def test_a_hint_that_openvino_does_not_follow_is_an_error() -> None:
    from napari_sam.core.engines.openvino import _check_precision

    class Compiled:
        def get_property(self, name: str):
            import openvino

            return openvino.Type.f16

    with pytest.raises(ModelError, match="computes in f16 here, precision 'exact' needs f32"):
        _check_precision(Compiled(), "exact")


@needs_openvino
def test_a_network_that_an_engine_cannot_take_is_an_error() -> None:
    from napari_sam.core.engines.openvino import compile_openvino

    class Odd(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise RuntimeError("not for graphs")

    with pytest.raises(ModelError, match="Use the backend 'torch'"):
        compile_openvino(Odd(), torch.zeros(1, 3, 8, 8), precision="exact")


@needs_openvino
def test_a_predictor_on_openvino_says_so_and_answers_alike() -> None:
    image = np.random.default_rng(0).integers(0, 4000, (48, 64), dtype=np.uint16)
    click = Prompts(points=[[[20, 30]]], point_labels=[[1]])
    plain = load_predictor(device="cpu", backend="torch")
    engine = load_predictor(backend="openvino")
    assert plain.runtime.describe() == "cpu, exact (float32), PyTorch"
    assert engine.runtime.describe() == "cpu, exact (float32), OpenVINO"
    for predictor in (plain, engine):
        predictor.spec = replace(predictor.spec, least_size=64, image_size=64)
    answers = [one.decode(one.encode(image), click) for one in (plain, engine)]
    assert (answers[0].masks() == answers[1].masks()).mean() > 0.999
    np.testing.assert_allclose(answers[0].scores, answers[1].scores, atol=1e-4)


def test_out_of_memory_of_an_engine_is_our_own_error_and_the_next_picture_works() -> None:
    predictor = load_predictor(device="cpu", backend="torch")
    image = np.zeros((32, 32), np.uint8)
    encoder = predictor._model.plain.image_encoder  # type: ignore[attr-defined]
    messages = [
        "[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory",
        "CUDA out of memory. Tried to allocate 2.00 GiB",
        "MPS backend out of memory (MPS allocated: 17.00 GiB)",
        "Exception from src/inference/src/cpp/infer_request.cpp:223: std::bad_alloc",
        "[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Failed to allocate memory for requested"
        " buffer of size 123",
    ]

    class Full(nn.Module):
        def __init__(self, message: str) -> None:
            super().__init__()
            self.message = message

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise (RuntimeError if "ONNX" not in self.message else Exception)(self.message)

    for message in messages:
        predictor._model.plain.image_encoder = Full(message)  # type: ignore[attr-defined]
        with pytest.raises(OutOfMemoryError, match="smaller model"):
            predictor.encode(image)
    predictor._model.plain.image_encoder = encoder  # type: ignore[attr-defined]
    assert predictor.encode(image).features.isfinite().all()


def test_engines_are_imported_only_when_asked_for() -> None:
    code = (
        "import sys; from napari_sam.core.predictor import load_predictor;"
        "load_predictor(device='cpu', backend='torch');"
        "print({'openvino', 'onnxruntime', 'onnx'} & set(sys.modules))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == "set()"


def test_choose_runtime_takes_the_cpu_for_an_engine_without_being_told() -> None:
    if len(installed_engines()) == 1:
        pytest.skip("needs an extra")
    chosen = choose_runtime("auto", "exact", engine=installed_engines()[1])
    assert chosen.device == torch.device("cpu")
