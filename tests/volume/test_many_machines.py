"""Machines that die, and machines that share nothing but a network and a folder."""

import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import pytest

from napari_sam.errors import ClusterError
from napari_sam.progress import finish
from napari_sam.volume.image import ImageRef
from napari_sam.volume.intensity import VolumeIntensity
from napari_sam.volume.pipelines import VolumeJob, segment_volume
from tests.volume.fakes import Greys, cells
from tests.volume.killing import left_behind
from tests.volume.test_distributed import PARAMS

pytest.importorskip("distributed")
from napari_sam.volume.distributed import ClusterRunner, connect, local_workers

pytestmark = [
    pytest.mark.kill,
    pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL"),
    pytest.mark.timeout(900),
]
DEATHS = 10
BRIDGE, HOSTS = "nsam0", ("nsam1", "nsam2")


class Slow(Greys):
    """Long enough at each tile to be killed there."""

    def encode(self, image, **kwargs):
        time.sleep(0.05)
        return super().encode(image, **kwargs)


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> VolumeJob:
    path = tmp_path_factory.mktemp("data") / "cells.npy"
    np.save(path, cells((4, 150, 130), count=30)[0])
    return VolumeJob(ImageRef.open(path), VolumeIntensity(None), Slow(), 48, 12)


@pytest.fixture(scope="module")
def expected(job: VolumeJob, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("serial")
    return segment(job, folder)


def segment(job: VolumeJob, folder: Path, **kwargs: object) -> dict[str, bytes]:
    steps = segment_volume(job, folder / "tiles", params=PARAMS, **kwargs)
    finish(steps)
    return left_behind(folder)


@contextmanager
def killing(runner: ClusterRunner) -> Iterator[list[int]]:
    """Kills a random worker whenever all are there; those that died."""
    dead: list[int] = []
    over = threading.Event()

    def kill() -> None:
        rng = random.Random(0)
        while not over.wait(rng.uniform(0.1, 1.0)):
            pids = list(runner.client.run(os.getpid, on_error="ignore").values())
            if len(pids) == 2 and None not in pids:
                dead.append(rng.choice(pids))
                os.kill(dead[-1], signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        yield dead
    finally:
        over.set()
        thread.join()


def test_workers_that_die_all_the_time_lose_nothing(
    job: VolumeJob, expected: dict[str, bytes], tmp_path: Path
) -> None:
    with local_workers(2, threads=1) as runner, killing(runner) as dead:
        number = 0
        while len(dead) < DEATHS:
            assert segment(job, tmp_path / str(number), runner=runner) == expected
            number += 1


@contextmanager
def program(*arguments: str, at: tuple[str, ...] = ()) -> Iterator[subprocess.Popen[bytes]]:
    """A dask command in a process of its own, ``at`` another host."""
    root = Path(__file__).parents[2]
    process = subprocess.Popen(
        [*at, sys.executable, "-m", *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(root), *sys.path])},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def scheduler(host: str, port: int, at: tuple[str, ...] = ()) -> object:
    return program("distributed.cli.dask_scheduler", "--host", host, "--port", str(port),
                   "--no-dashboard", at=at)  # fmt: skip


def worker(address: str, at: tuple[str, ...] = ()) -> object:
    return program("distributed.cli.dask_worker", address, "--nthreads", "1", "--no-dashboard",
                   "--memory-limit", "0", at=at)  # fmt: skip


def test_a_scheduler_that_dies_is_said_and_the_job_goes_on_elsewhere(
    job: VolumeJob, expected: dict[str, bytes], tmp_path: Path
) -> None:
    address = "tcp://127.0.0.1:38786"
    with scheduler("127.0.0.1", 38786) as main, worker(address), connect(address) as runner:
        steps = segment_volume(job, tmp_path / "tiles", params=PARAMS, runner=runner)
        while next(steps).done < 5:
            pass
        main.kill()
        with pytest.raises(ClusterError, match="the scheduler is gone"):
            finish(steps)
    assert segment(job, tmp_path) == expected


def ip(*arguments: str, check: bool = True) -> bool:
    done = subprocess.run(["ip", *arguments], capture_output=True, check=check)
    return done.returncode == 0


@pytest.fixture
def hosts() -> Iterator[None]:
    """Two network namespaces on a bridge: 10.213.7.2 and .3; this host is .1 on it."""
    if not shutil.which("ip") or not ip("netns", "add", HOSTS[0], check=False):
        pytest.skip("network namespaces are not permitted here")
    with ExitStack() as undo:
        undo.callback(ip, "netns", "del", HOSTS[0], check=False)
        if not ip("link", "add", BRIDGE, "type", "bridge", check=False):
            pytest.skip("network bridges are not permitted here")
        undo.callback(ip, "link", "del", BRIDGE, check=False)
        ip("netns", "add", HOSTS[1])
        undo.callback(ip, "netns", "del", HOSTS[1], check=False)
        ip("addr", "add", "10.213.7.1/24", "dev", BRIDGE)
        ip("link", "set", BRIDGE, "up")
        for number, host in enumerate(HOSTS, 2):
            ip("link", "add", f"{host}v", "type", "veth", "peer", "name", "eth0", "netns", host)
            ip("link", "set", f"{host}v", "master", BRIDGE, "up")
            ip("-n", host, "addr", "add", f"10.213.7.{number}/24", "dev", "eth0")
            ip("-n", host, "link", "set", "eth0", "up")
            ip("-n", host, "link", "set", "lo", "up")
        yield


def test_hosts_that_share_a_network_and_a_folder(
    hosts: None, job: VolumeJob, expected: dict[str, bytes], tmp_path: Path
) -> None:
    address = "tcp://10.213.7.1:38787"
    with ExitStack() as all_of_them:
        all_of_them.enter_context(scheduler("10.213.7.1", 38787))
        for host in HOSTS:
            all_of_them.enter_context(worker(address, at=("ip", "netns", "exec", host)))
        runner = all_of_them.enter_context(connect(address))
        runner.client.wait_for_workers(2, timeout=120)
        seen = {one.split("://")[1].split(":")[0] for one in runner.client.nthreads()}
        assert seen == {"10.213.7.2", "10.213.7.3"}
        assert segment(job, tmp_path, runner=runner) == expected
