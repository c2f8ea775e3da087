"""Segment a volume on a SLURM cluster: ``python on_slurm.py stack.zarr cells``, on a login node."""

import subprocess
import sys

from dask_jobqueue import SLURMCluster

JOBS, CORES = 16, 8


def cluster() -> SLURMCluster:
    """One process a job: it has one model, which computes with all cores of the job."""
    return SLURMCluster(
        queue="normal",
        cores=CORES,
        processes=1,
        memory="16GB",
        walltime="08:00:00",
        # With a GPU: queue="gpu", job_extra_directives=["--gres=gpu:1"]
        worker_extra_args=["--nthreads", "1", "--no-dashboard"],  # one tile at a time
        job_script_prologue=[f"export OMP_NUM_THREADS={CORES}"],
        scheduler_options={"dashboard": False, "dashboard_address": ":0"},
    )


def main(*command: str) -> None:
    """Run ``napari-sam segment-volume STORE --name NAME`` with workers of SLURM."""
    store, name, *others = command
    with cluster() as workers:
        workers.scale(jobs=JOBS)
        where = ["--scheduler", workers.scheduler_address]
        segment = [sys.executable, "-m", "napari_sam", "segment-volume", store, "--name", name]
        subprocess.run([*segment, *where, *others], check=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
