"""Programs that run in a process of their own."""

import os
import subprocess
import sys


def run_python(*arguments, cwd, said=None, python=sys.executable, **environment):
    """Run Python on these arguments, and on what is ``said`` to it; nothing opens a window."""
    command = [str(python), *map(str, arguments)]
    environment = os.environ | {"MPLBACKEND": "Agg", "OPENBLAS_NUM_THREADS": "1"} | environment
    shell = dict(cwd=cwd, env=environment, input=said, capture_output=True, text=True)
    return subprocess.run(command, timeout=1800, **shell)
