"""Hardware: what a menu knows of the machine without torch."""

from pathlib import Path

import pytest

from napari_sam.core import hardware


@pytest.fixture(autouse=True)
def fresh():
    hardware.cpu_has_bfloat16.cache_clear()
    hardware.cpu_flags.cache_clear()
    yield
    hardware.cpu_has_bfloat16.cache_clear()
    hardware.cpu_flags.cache_clear()


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("fpu sse2 avx2 avx512f avx512_bf16 avx512_vnni", True),
        ("fpu sse2 avx2 avx512f avx512bw", False),
        ("fp asimd i8mm bf16", True),
        ("fp asimd", False),
    ],
)
def test_linux_lists_what_its_cpu_can(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, flags: str, expected: bool
) -> None:
    cpu = tmp_path / "cpuinfo"
    cpu.write_text(f"processor\t: 0\nflags\t\t: {flags}\n")
    monkeypatch.setattr(hardware, "_LINUX_CPU", cpu)
    monkeypatch.setattr("sys.platform", "linux")
    assert hardware.cpu_has_bfloat16() is expected


@pytest.mark.parametrize(("machine", "answer", "expected"), [
    ("arm64", "1", True), ("arm64", "0", False), ("arm64", "", False), ("x86_64", "1", False),
])  # fmt: skip
def test_macs_are_asked(
    monkeypatch: pytest.MonkeyPatch, machine: str, answer: str, expected: bool
) -> None:
    monkeypatch.setattr("sys.platform", "darwin")
    monkeypatch.setattr("platform.machine", lambda: machine)
    monkeypatch.setattr(hardware, "_sysctl", lambda name: answer)
    assert hardware.cpu_has_bfloat16() is expected


def test_elsewhere_it_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "win32")
    assert hardware.cpu_has_bfloat16() is None


def test_apple_gpus_are_those_of_arm_macs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "arm64")
    monkeypatch.setattr("sys.platform", "darwin")
    assert hardware.has_apple_gpu()
    monkeypatch.setattr("sys.platform", "linux")
    assert not hardware.has_apple_gpu()


def test_a_command_that_is_not_there_is_no_answer() -> None:
    assert hardware._sysctl("hw.nothing.of.the.kind") == ""
