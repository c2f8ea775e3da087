"""The manual's script for SLURM: what it submits, and a run with a stand-in for ``sbatch``."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from napari_sam.volume.image import ImageRef
from tests.volume.fakes import cells
from tests.volume.images import write_ome_zarr

pytest.importorskip("dask_jobqueue")
SCRIPT = Path(__file__).parents[2] / "docs" / "manual" / "on_slurm.py"
SBATCH = """#!/bin/sh
# Runs what it is given, at once, as a job of its own; a second job never starts.
[ -e "$(dirname "$0")/started" ] && { echo "Submitted batch job 2"; exit; }
touch "$(dirname "$0")/started"
cp "$1" "$(dirname "$0")/job.sh"
setsid sh "$(dirname "$0")/job.sh" >"$(dirname "$0")/job.log" 2>&1 &
echo "Submitted batch job $!"
"""


@pytest.fixture
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("on_slurm", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_job_is_one_process_with_one_tile_at_a_time(script: ModuleType) -> None:
    with script.cluster() as cluster:
        lines = cluster.job_script().splitlines()
    assert {"#SBATCH -n 1", "#SBATCH --cpus-per-task=8", "#SBATCH -t 08:00:00"} <= set(lines)
    assert "export OMP_NUM_THREADS=8" in lines
    command = lines[-1].split()
    assert command[1:3] == ["-m", "distributed.cli.dask_worker"]
    assert [command[i + 1] for i, word in enumerate(command) if word == "--nthreads"][-1] == "1"


@pytest.mark.kill
@pytest.mark.skipif(sys.platform == "win32", reason="there is no sh")
def test_a_volume_is_segmented_by_jobs_that_are_submitted(tmp_path: Path) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for name, text in (("sbatch", SBATCH), ("scancel", "#!/bin/sh\nkill -- -$1 || true\n")):
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)
    path = write_ome_zarr(tmp_path / "a.zarr", cells((1, 90, 100))[0], "zyx")
    options = ["--tile", "48", "--halo", "16", "--points-per-side", "2", "--intensity", "as_is"]
    environment = {
        **os.environ,
        "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(path), "cells", *options],
        env=environment, capture_output=True, text=True, timeout=200, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert ImageRef.open(path / "labels" / "cells").size == (90, 100)
    assert "--nthreads 1" in (tools / "job.sh").read_text()
