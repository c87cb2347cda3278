"""Programs that run in a process of their own."""

import json
import os
import subprocess
import sys
import time

import numpy as np
import pytest


def run_python(*arguments, cwd, said=None, python=sys.executable, **environment):
    """Run Python on these arguments, and on what is ``said`` to it; nothing opens a window."""
    command = [str(python), *map(str, arguments)]
    environment = os.environ | {"MPLBACKEND": "Agg", "OPENBLAS_NUM_THREADS": "1"} | environment
    shell = dict(cwd=cwd, env=environment, input=said, capture_output=True, text=True)
    return subprocess.run(command, timeout=1800, **shell)


def read_json(path):
    """What a JSON file says, in which nothing is a NaN or infinite."""
    return json.loads(path.read_text("ascii"), parse_constant=pytest.fail)


def state_of_a_worker(slept, number):
    """Its process, threads and treatment of underflow; run 2 is slow."""
    if number == 2:
        time.sleep(30)
        slept.touch()
    threads = [os.environ[f"{name}_NUM_THREADS"] for name in ("OMP", "OPENBLAS", "MKL")]
    return os.getpid(), threads, np.geterr()["under"]
