"""One measurement in a fresh process: peak memory, cold starts, busy neighbours.

``python -m benchmarks.child SUITE FUNCTION MODEL CONTENDER SETTINGS`` calls
``benchmarks.suites.SUITE.FUNCTION(settings, model, contender)`` and prints its answer as JSON.
Imports nothing heavy itself: a cold start is measured from here.
"""

import importlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.settings import SMALL, Settings

STARTED = "NAPARI_SAM_BENCH_STARTED"
"""Environment variable: when the parent started this process, in seconds of ``time.time()``."""


class ChildFailed(Exception):  # noqa: N818
    """The child ended badly; the message is its last line."""


def ask(settings: Settings, suite: str, function: str, model: str, contender: str) -> Any:
    """Run one function of a suite in a fresh process and return its answer.

    Raises
    ------
    ChildFailed
        With the last line of what it said.
    """
    arguments = [suite, function, model, contender, settings.to_json()]
    # The parent's policy is for all that take turns; here each contender has its own.
    environment = {key: value for key, value in os.environ.items() if key != "OMP_WAIT_POLICY"}
    environment[STARTED] = repr(time.time())
    answer = subprocess.run(
        [sys.executable, "-m", "benchmarks.child", *arguments],
        env=environment,
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
    )
    if answer.returncode:
        lines = answer.stderr.strip().splitlines() or ["no message"]
        raise ChildFailed(f"{contender}: {lines[-1]} (exit code {answer.returncode})")
    return json.loads(answer.stdout.splitlines()[-1])


def main() -> None:
    """Answer the parent."""
    suite, function, model, contender, settings = sys.argv[1:]
    if model == SMALL:
        importlib.import_module("benchmarks.models").register_small()
    module = importlib.import_module(f"benchmarks.suites.{suite}")
    print(json.dumps(getattr(module, function)(Settings.from_json(settings), model, contender)))


if __name__ == "__main__":
    main()
