"""What the figures depend on: the machine, who else used it, and the memory of this process."""

import ctypes
import gc
import os
import platform
import subprocess
import sys
import time
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks.timing import CLOCK_S

_PACKAGES = (
    "torch", "numpy", "segment-anything", "mobilesam-mirror", "transformers", "onnxruntime",
    "openvino", "micro-sam",
)  # fmt: skip
_FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile", "amx_bf16", "amx_int8")
_BUSY_FIELDS = (0, 1, 2, 5, 6, 7)  # of /proc/stat: user, nice, system, irq, softirq, steal
_RESET_PEAK = "5"


@dataclass(frozen=True)
class Machine:
    """Where and with what a run was made.

    Attributes
    ----------
    cpu, flags, cores, memory_gb, system
        The hardware, as far as the system tells.
    threads
        Threads that each contender may use.
    python, packages
        Versions.
    commit
        Of this repository, with ``+`` where files were changed.
    """

    cpu: str
    flags: tuple[str, ...]
    cores: int
    memory_gb: float
    system: str
    threads: int
    python: str
    packages: dict[str, str]
    commit: str

    @property
    def kind(self) -> str:
        """Machines of one kind have comparable ratios."""
        return f"{self.cpu}, {self.cores} cores, {self.threads} threads, {' '.join(self.flags)}"

    def describe(self) -> str:
        """One line for people."""
        packages = ", ".join(f"{name} {number}" for name, number in self.packages.items())
        return (
            f"{self.kind}; {self.memory_gb:.0f} GB; {self.system}; Python {self.python},"
            f" {packages}; commit {self.commit}"
        )


def describe_machine(threads: int) -> Machine:
    """Look around."""
    cpu, flags = _cpu()
    pages = (
        os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 0
    )
    return Machine(
        cpu=cpu,
        flags=flags,
        cores=os.cpu_count() or 1,
        memory_gb=round(pages / 1e9, 1),
        system=f"{platform.system()} {platform.machine()}",
        threads=threads,
        python=platform.python_version(),
        packages={name: found for name in _PACKAGES if (found := _version(name))},
        commit=_commit(),
    )


def _cpu() -> tuple[str, tuple[str, ...]]:
    """Name with family and model (names of virtual machines say little), and what it can do."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor() or platform.machine(), ()
    pairs = (line.partition(":") for line in text.split("\n\n")[0].splitlines())
    fields = {key.strip(): value.strip() for key, _, value in pairs}
    numbers = f"family {fields.get('cpu family', '?')} model {fields.get('model', '?')}"
    present = fields.get("flags", "").split()
    flags = tuple(flag for flag in _FLAGS if flag in present)
    return f"{fields.get('model name', platform.machine())} ({numbers})", flags


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _commit() -> str:
    root = Path(__file__).parents[1]

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(root), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        return git("rev-parse", "--short", "HEAD") + ("+" if git("status", "--porcelain") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


class NeighbourMeter:
    """Cores that processes other than this one and its ended children use (Linux only).

    Parameters
    ----------
    expected
        Cores that are taken on purpose, by a process of the benchmark.
    """

    def __init__(self, expected: float = 0.0) -> None:
        self._expected = expected

    def start(self) -> tuple[float, float, float] | None:
        """Wall clock, CPU seconds of everybody, CPU seconds of ours."""
        everybody = _busy_seconds()
        if everybody is None:
            return None
        return time.perf_counter(), everybody, sum(os.times()[:4])

    def others(self, started: tuple[float, float, float] | None) -> float | None:
        """Cores that others used; None without /proc/stat or after too short a time."""
        now = self.start()
        if started is None or now is None or now[0] - started[0] < CLOCK_S:
            return None
        wall, everybody, ours = (after - before for after, before in zip(now, started, strict=True))
        return max(0.0, (everybody - ours) / wall - self._expected)


def _busy_seconds() -> float | None:
    try:
        first = Path("/proc/stat").read_text().splitlines()[0].split()[1:]
    except OSError:
        return None
    return sum(int(first[i]) for i in _BUSY_FIELDS) / os.sysconf("SC_CLK_TCK")


class PeakMemory:
    """How far this process' memory rises above where it is now.

    Best asked in a fresh process: what was freed before may be reused without a trace.
    """

    def __init__(self) -> None:
        gc.collect()
        self._can_reset = sys.platform == "linux"
        if not self._can_reset:
            return
        if hasattr(libc := ctypes.CDLL(None), "malloc_trim"):  # glibc's
            libc.malloc_trim(0)
        try:
            Path("/proc/self/clear_refs").write_text(_RESET_PEAK)
        except OSError:  # not allowed in some containers
            self._can_reset = False
        else:
            self._start = _status_mb("VmRSS")

    def rise_mb(self) -> float | None:
        """MB (10^6 bytes) between the start and the highest point since; None if unknown."""
        return _status_mb("VmHWM") - self._start if self._can_reset else None


def _status_mb(name: str) -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 1024 / 1e6
    raise OSError(f"/proc/self/status has no {name}")
