"""Weights: found, downloaded over a bad network, verified. No test leaves 127.0.0.1."""

import hashlib
import logging
import multiprocessing
import os
import shutil
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import xxhash

from napari_sam.core import weights
from napari_sam.core.registry import ModelSpec, get_spec
from napari_sam.core.weights import cache_folder, download, find, verify, weights_path
from napari_sam.errors import WeightsError
from tests.core.http_server import Behaviour, FileServer

CONTENT = bytes(range(256)) * 12_000  # 3 MB: several pieces
SHA256 = "sha256:" + hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def server() -> Iterator[FileServer]:
    with FileServer(CONTENT) as server:
        yield server


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "_PAUSES_S", (0.0, 0.0, 0.0))


def spec_of(server: FileServer, **changes: object) -> ModelSpec:
    known = {"url": server.url, "hash": SHA256, "size_bytes": len(CONTENT)} | changes
    return replace(get_spec("vit_b"), **known)  # type: ignore[arg-type]


def part_of(spec: ModelSpec, cache: Path) -> Path:
    return cache / (spec.file_name + ".part")


def leave_part(spec: ModelSpec, cache: Path, content: bytes) -> None:
    part_of(spec, cache).write_bytes(content)


def assert_downloaded(spec: ModelSpec, cache: Path) -> None:
    found = find(spec, cache=cache)
    assert found is not None and found.read_bytes() == CONTENT
    assert not part_of(spec, cache).exists()


def assert_nothing_left(spec: ModelSpec, cache: Path) -> None:
    assert find(spec, cache=cache) is None
    assert not part_of(spec, cache).exists()


# Where the weights are


def test_cache_is_argument_then_variable_then_user_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NAPARI_SAM_CACHE", str(tmp_path / "from_variable"))
    assert cache_folder(tmp_path / "given") == tmp_path / "given"
    assert cache_folder() == tmp_path / "from_variable"
    monkeypatch.delenv("NAPARI_SAM_CACHE")
    assert cache_folder().parts[-2:] == ("napari-sam", "models")


def test_find_says_none_until_the_file_is_there(tmp_path: Path) -> None:
    spec = get_spec("vit_b")
    assert find(spec, cache=tmp_path) is None
    weights_path(spec, cache=tmp_path).write_bytes(b"")
    assert find(spec, cache=tmp_path) == tmp_path / "sam_vit_b_01ec64.pth"


def test_bundled_weights_are_in_the_package_whatever_the_cache(tmp_path: Path) -> None:
    path = weights_path(get_spec("tiny"), cache=tmp_path)
    assert path.parts[-4:] == ("napari_sam", "core", "data", "tiny.safetensors")


def test_bundled_weights_that_are_gone_need_no_network_to_say_so() -> None:
    spec = replace(get_spec("tiny"), file_name="gone.safetensors")
    with pytest.raises(WeightsError, match="install napari-sam again"):
        list(download(spec))


# A good network


def test_download_reports_bytes_and_returns_the_path(server: FileServer, tmp_path: Path) -> None:
    spec = spec_of(server)
    job = download(spec, cache=tmp_path / "new" / "folder")
    reports = []
    while True:
        try:
            reports.append(next(job))
        except StopIteration as end:
            path = end.value
            break
    assert path.read_bytes() == CONTENT
    assert [r.done for r in reports] == sorted(r.done for r in reports)
    assert 0 < reports[0].done < reports[-1].done == len(CONTENT)
    assert {r.total for r in reports} == {len(CONTENT)}
    assert server.ranges == [None]


def test_download_works_without_announced_length(server: FileServer, tmp_path: Path) -> None:
    server.behaviours = [Behaviour(length=False)]
    spec = spec_of(server, size_bytes=None)
    assert {r.total for r in download(spec, cache=tmp_path)} == {0, len(CONTENT)}
    assert_downloaded(spec, tmp_path)


def test_good_file_in_the_cache_is_not_downloaded_again(server: FileServer, tmp_path: Path) -> None:
    spec = spec_of(server)
    weights_path(spec, cache=tmp_path).write_bytes(CONTENT)
    assert list(download(spec, cache=tmp_path)) == []
    assert server.ranges == []


def test_damaged_file_in_the_cache_is_replaced(server: FileServer, tmp_path: Path) -> None:
    spec = spec_of(server)
    weights_path(spec, cache=tmp_path).write_bytes(CONTENT[:-1] + b"x")
    list(download(spec, cache=tmp_path))
    assert_downloaded(spec, tmp_path)


@pytest.mark.parametrize(
    "digest",
    [
        "xxh128:" + xxhash.xxh128(CONTENT).hexdigest(),
        "md5:" + hashlib.md5(CONTENT, usedforsecurity=False).hexdigest(),
    ],
    ids=["xxh128", "md5"],
)
def test_hashes_of_other_publishers(digest: str, server: FileServer, tmp_path: Path) -> None:
    spec = spec_of(server, hash=digest)
    list(download(spec, cache=tmp_path))
    assert_downloaded(spec, tmp_path)


# A bad network


def test_truncated_body_is_resumed(server: FileServer, tmp_path: Path) -> None:
    server.behaviours = [Behaviour(send=1_000_000), Behaviour()]
    spec = spec_of(server)
    messages = [r.message for r in download(spec, cache=tmp_path)]
    assert_downloaded(spec, tmp_path)
    assert any("ended early" in message for message in messages)
    assert server.ranges[0] is None and server.ranges[1] is not None


def test_connection_that_breaks_often_gets_through(server: FileServer, tmp_path: Path) -> None:
    server.behaviours = [Behaviour(send=1_100_000)]
    server.content = CONTENT * 3
    spec = spec_of(server, hash="sha256:" + hashlib.sha256(CONTENT * 3).hexdigest())
    list(download(spec, cache=tmp_path))
    assert weights_path(spec, cache=tmp_path).read_bytes() == CONTENT * 3
    assert len(server.ranges) > len(weights._PAUSES_S) + 2


def test_body_that_is_always_truncated_ends_in_an_error(server: FileServer, tmp_path: Path) -> None:
    server.behaviours = [Behaviour(send=1_000_000, ranges=False)]
    spec = spec_of(server)
    with pytest.raises(WeightsError, match="the connection ended early"):
        list(download(spec, cache=tmp_path))
    assert find(spec, cache=tmp_path) is None
    assert len(server.ranges) <= 5


def test_cancelled_download_is_resumed_by_the_next(server: FileServer, tmp_path: Path) -> None:
    spec = spec_of(server)
    job = download(spec, cache=tmp_path)
    next(job)
    job.close()
    kept = part_of(spec, tmp_path).stat().st_size
    assert 0 < kept < len(CONTENT)
    list(download(spec, cache=tmp_path))
    assert_downloaded(spec, tmp_path)
    assert server.ranges == [None, f"bytes={kept}-"]


def test_server_that_ignores_range_sends_all_again(server: FileServer, tmp_path: Path) -> None:
    server.behaviours = [Behaviour(ranges=False)]
    spec = spec_of(server)
    leave_part(spec, tmp_path, CONTENT[:1000])
    list(download(spec, cache=tmp_path))
    assert_downloaded(spec, tmp_path)
    assert server.ranges == ["bytes=1000-"]


def test_server_that_sends_another_range_is_not_believed(
    server: FileServer, tmp_path: Path
) -> None:
    server.behaviours = [Behaviour(shift=7), Behaviour()]
    spec = spec_of(server)
    leave_part(spec, tmp_path, CONTENT[:1000])
    list(download(spec, cache=tmp_path))
    assert_downloaded(spec, tmp_path)
    assert server.ranges == ["bytes=1000-", None]


def test_part_of_an_older_file_is_thrown_away(server: FileServer, tmp_path: Path) -> None:
    spec = spec_of(server)
    leave_part(spec, tmp_path, b"older" * 1000)
    list(download(spec, cache=tmp_path))
    assert_downloaded(spec, tmp_path)
    assert server.ranges == ["bytes=5000-", None]


@pytest.mark.parametrize("surplus", [b"", b"surplus"], ids=["complete", "too long"])
def test_part_with_nothing_left_to_fetch(
    surplus: bytes, server: FileServer, tmp_path: Path
) -> None:
    spec = spec_of(server)
    leave_part(spec, tmp_path, CONTENT + surplus)
    list(download(spec, cache=tmp_path))
    assert_downloaded(spec, tmp_path)


def test_wrong_hash_leaves_nothing_and_names_both(server: FileServer, tmp_path: Path) -> None:
    server.content = b"not the weights"
    got = hashlib.sha256(server.content).hexdigest()
    spec = spec_of(server)
    with pytest.raises(WeightsError, match=f"expected {SHA256}, got sha256:{got}"):
        list(download(spec, cache=tmp_path))
    assert_nothing_left(spec, tmp_path)
    assert server.ranges == [None]


def test_404_is_final(server: FileServer, tmp_path: Path) -> None:
    server.behaviours = [Behaviour(status=404)]
    spec = spec_of(server)
    with pytest.raises(WeightsError, match="404") as caught:
        list(download(spec, cache=tmp_path))
    assert server.ranges == [None]
    assert server.url in str(caught.value)
    assert_nothing_left(spec, tmp_path)


@pytest.mark.parametrize("fault", [Behaviour(status=500), Behaviour(reset=True)], ids=str)
def test_passing_fault_is_tried_again(fault: Behaviour, server: FileServer, tmp_path: Path) -> None:
    server.behaviours = [fault, fault, Behaviour()]
    spec = spec_of(server)
    list(download(spec, cache=tmp_path))
    assert_downloaded(spec, tmp_path)
    assert len(server.ranges) == 3


def test_lasting_fault_ends_in_an_error(server: FileServer, tmp_path: Path) -> None:
    server.behaviours = [Behaviour(status=503)]
    with pytest.raises(WeightsError, match="503"):
        list(download(spec_of(server), cache=tmp_path))
    assert len(server.ranges) == 4


def test_offline_says_what_to_put_where(tmp_path: Path) -> None:
    with socket.socket() as unused:  # bound, not listening: connections are refused
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/weights.pth"
        spec = replace(get_spec("vit_b"), url=url)
        with pytest.raises(WeightsError) as caught:
            list(download(spec, cache=tmp_path))
    message = str(caught.value)
    assert url in message
    assert str(tmp_path / "sam_vit_b_01ec64.pth") in message
    assert "napari-sam models verify vit_b" in message


# A bad disk


def test_full_disk_is_noticed_before_the_first_byte(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=1_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    spec = spec_of(server)
    with pytest.raises(WeightsError, match=r"3\.1 MB are needed .* 1\.0 MB are free"):
        list(download(spec, cache=tmp_path))
    assert_nothing_left(spec, tmp_path)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")
def test_disk_that_fills_up_meanwhile_is_cleaned(server: FileServer, tmp_path: Path) -> None:
    spec = spec_of(server)
    part_of(spec, tmp_path).symlink_to("/dev/full")
    with pytest.raises(WeightsError, match=r"No space for SAM ViT-B: 3\.1 MB are needed"):
        list(download(spec, cache=tmp_path))
    assert not part_of(spec, tmp_path).is_symlink()
    assert find(spec, cache=tmp_path) is None


def test_cache_that_is_no_folder_is_named(server: FileServer, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(WeightsError, match="NAPARI_SAM_CACHE"):
        list(download(spec_of(server), cache=tmp_path / "file"))


# Several at once


def _download_in_process(
    spec: ModelSpec, cache: Path, messages: "multiprocessing.Queue[str]"
) -> None:
    messages.put(" ".join(report.message for report in download(spec, cache=cache)))


def test_of_two_processes_one_downloads(server: FileServer, tmp_path: Path) -> None:
    server.behaviours = [Behaviour(pause_s=0.03)]
    spec = spec_of(server)
    context = multiprocessing.get_context("spawn")
    messages: multiprocessing.Queue[str] = context.Queue()
    processes = [
        context.Process(target=_download_in_process, args=(spec, tmp_path, messages))
        for _ in range(2)
    ]
    for process in processes:
        process.start()
    said = [messages.get(timeout=60) for _ in processes]
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    assert_downloaded(spec, tmp_path)
    assert server.ranges == [None]
    assert sum("checking" in text for text in said) == 1


def test_waiting_for_another_process_is_reported_and_can_be_cancelled(
    server: FileServer, tmp_path: Path
) -> None:
    spec = spec_of(server)
    first, second = (download(spec, cache=tmp_path) for _ in range(2))
    next(first)
    assert "another process" in next(second).message
    second.close()
    list(first)
    assert_downloaded(spec, tmp_path)


# Hashes


def test_verify_accepts_the_published_file_only(server: FileServer, tmp_path: Path) -> None:
    spec, path = spec_of(server), tmp_path / "by_hand.pth"
    with pytest.raises(WeightsError, match="There is no file"):
        verify(spec, path)
    path.write_bytes(CONTENT)
    verify(spec, path)
    path.write_bytes(CONTENT[1:])
    with pytest.raises(WeightsError, match=rf"by_hand\.pth .* expected {SHA256}, got sha256:"):
        verify(spec, path)


def test_first_file_without_published_hash_is_trusted_and_recorded(
    server: FileServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spec = spec_of(server, hash=None)
    leave_part(spec, tmp_path, b"of an older file")
    with caplog.at_level(logging.WARNING):
        list(download(spec, cache=tmp_path))
    assert "trusted on first use" in caplog.text
    assert server.ranges == [None]  # not resumed: nothing could tell two files joined
    record = tmp_path / (spec.file_name + ".sha256")
    assert record.read_text().strip() == SHA256

    weights_path(spec, cache=tmp_path).unlink()
    server.content = CONTENT[1:]
    with pytest.raises(WeightsError, match="recorded"):
        list(download(spec, cache=tmp_path))
