"""Making the compiled library, and doing without it."""

import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from napari_sam.core import hardware
from napari_sam.core.native import library

needs_compiler = pytest.mark.skipif(
    library.why_no_library() is not None, reason=str(library.why_no_library())
)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    library.forget_library()
    monkeypatch.setattr(library, "user_cache_path", lambda name: tmp_path / name)
    yield tmp_path
    library.forget_library()


@pytest.fixture(autouse=True)
def _switched_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(library.SWITCH, raising=False)


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the machine's compiler makes of our sources: it takes seconds, so once for all tests."""
    folder = tmp_path_factory.mktemp("compiled")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv(library.SWITCH, raising=False)
        patch.setattr(library, "user_cache_path", lambda name: folder / name)
        patch.setattr(library, "_SECONDS", 280)  # of a machine that does much else
        library.forget_library()
        assert library.load_library() is not None
    library.forget_library()
    return next(folder.rglob("*.so"))


@pytest.fixture
def quick_compiler(compiled: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program that is called like a compiler, and gives what was compiled before."""
    compiler = own_cache / "quick-c++"
    compiler.write_text(
        f'#!/bin/sh\nwhile [ "$1" != -o ]; do shift; done\nsleep 0.2; cp "{compiled}" "$2"\n'
    )
    compiler.chmod(0o755)
    monkeypatch.setattr(library, "_compiler", lambda: str(compiler))
    return compiler


def pretend(monkeypatch: pytest.MonkeyPatch, flags: set[str]) -> None:
    monkeypatch.setattr(library, "cpu_flags", lambda: frozenset(flags))
    monkeypatch.setattr(library.sys, "platform", "linux")
    monkeypatch.setattr(library.platform, "machine", lambda: "x86_64")


def test_off_is_off(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture):
    monkeypatch.setenv(library.SWITCH, "off")
    with caplog.at_level(logging.INFO):
        assert library.load_library() is None
    assert library.SWITCH in caplog.text


def test_an_older_cpu(monkeypatch: pytest.MonkeyPatch):
    pretend(monkeypatch, {"avx2", "fma"})
    assert library.why_no_library() == "the CPU has no avx512f"


def test_another_system(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(library.sys, "platform", "darwin")
    assert "Linux" in str(library.why_no_library())


def test_no_compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    pretend(monkeypatch, set(library._NEEDED))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "no C++ compiler" in str(library.why_no_library())
    assert library.load_library() is None


@needs_compiler
def test_made_once(compiled: Path, monkeypatch: pytest.MonkeyPatch):
    assert [path for path in compiled.parent.iterdir() if path != compiled] == []
    cache = compiled.parents[2]
    monkeypatch.setattr(library, "user_cache_path", lambda name: cache / name)
    monkeypatch.setattr(library.subprocess, "run", None)
    assert library.load_library() is not None


@needs_compiler
def test_other_flags_another_file(monkeypatch: pytest.MonkeyPatch):
    before = library._file()
    flags = hardware.cpu_flags()
    monkeypatch.setattr(library, "cpu_flags", lambda: flags ^ {"avx512_bf16"})
    assert library._file() != before


@needs_compiler
@pytest.mark.parametrize(
    "script", ["echo cannot do that >&2; exit 3", "exit 3", "exit 0"], ids=["told", "mute", "none"]
)
def test_a_compiler_that_fails(
    own_cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    script: str,
):
    compiler = own_cache / "c++"
    compiler.write_text(f"#!/bin/sh\n{script}\n")
    compiler.chmod(0o755)
    monkeypatch.setattr(library, "_compiler", lambda: str(compiler))
    with caplog.at_level(logging.INFO):
        assert library.load_library() is None
    assert "could not be made" in caplog.text
    assert list(own_cache.rglob("*.so")) == []


@needs_compiler
def test_a_broken_file_is_no_crash(own_cache: Path):
    file = library._file()
    file.parent.mkdir(parents=True)
    file.write_bytes(b"no library")
    assert library.load_library() is None


@needs_compiler
def test_a_cache_that_cannot_be_written(own_cache: Path):
    (own_cache / "napari-sam").write_text("a file where the folder should be")
    assert library.load_library() is None


@needs_compiler
def test_a_cache_that_cannot_even_be_looked_at(
    own_cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    """As a home of another user is: looking whether a file is there is an error then."""
    beyond = own_cache / ("long" * 100)
    monkeypatch.setattr(library, "user_cache_path", lambda name: beyond / name)
    with caplog.at_level(logging.INFO):
        assert library.ready_library() is None
        assert library.load_library() is None
    assert "could not be made" in caplog.text


@needs_compiler
def test_two_processes_at_once(own_cache: Path, quick_compiler: Path):
    code = (
        "import sys; from pathlib import Path; from napari_sam.core.native import library;"
        "library.user_cache_path = lambda name: Path(sys.argv[1]) / name;"
        "library._compiler = lambda: sys.argv[2];"
        "assert library.load_library() is not None"
    )
    arguments = [sys.executable, "-c", code, str(own_cache), str(quick_compiler)]
    both = [subprocess.Popen(arguments) for _ in range(2)]
    assert [process.wait(timeout=100) for process in both] == [0, 0]
    assert len(list(own_cache.rglob("*.so"))) == 1


@needs_compiler
@pytest.mark.usefixtures("quick_compiler")
def test_what_is_not_worth_a_compiler_waits_for_others():
    assert library.ready_library() is None
    assert library.load_library() is not None
    assert library.ready_library() is not None


@needs_compiler
@pytest.mark.usefixtures("quick_compiler")
def test_made_in_the_background_once():
    thread = library.make_in_background()
    assert thread is not None
    assert library.make_in_background() is thread
    thread.join(100)
    assert library.ready_library() is not None
    library.forget_library()
    assert library.make_in_background() is None  # it is there


@needs_compiler
@pytest.mark.usefixtures("quick_compiler")
def test_what_a_program_left_that_ended_in_between_is_cleared_away(own_cache: Path):
    folder = own_cache / "napari-sam" / "native"
    old, young = folder / "making-old", folder / "making-young"
    for each in (old, young):
        each.mkdir(parents=True)
        (each / "half.so").touch()
    os.utime(old, (0, 0))
    assert library.load_library() is not None
    assert not old.exists()
    assert young.exists()  # another program may be at it


def test_nothing_is_made_in_vain(own_cache: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(library.SWITCH, "off")
    assert library.make_in_background() is None


@needs_compiler
@pytest.mark.usefixtures("quick_compiler")
def test_ready_from_an_earlier_run():
    library.load_library()
    library.forget_library()
    assert library.ready_library() is not None
