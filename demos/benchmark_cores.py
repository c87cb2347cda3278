"""Time the image attack on one core, on all cores, and beside other busy processes.

    python demos/benchmark_cores.py

The same starts run in one process, in as many processes as there are cores, and in as many
again while one endless loop of matrix products for each core takes its share.  The three take
turns, and the median time counts.  A fair share of a busy machine is half of it, so that the last
ratio should be near 2.  Run it on a machine that does nothing else.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from image_run import Settings, make_split, train
from report import Clock, write_json
from study import fresh_folder, read_options, study_parser

import kkt_ref
from kkt_ref._parallel import usable_cores

LOOP = "import numpy as np; a = np.ones((500, 500))\nwhile True: a @ a"


@contextmanager
def busy(loops: int) -> Iterator[None]:
    """Keep ``loops`` cores busy while the block runs."""
    one_thread = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-c", LOOP]
    processes = [subprocess.Popen(command, env=one_thread) for _ in range(loops)]
    try:
        time.sleep(1.0 if loops else 0.0)  # until they have imported NumPy
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Run the demo and return its table."""
    parser = study_parser("benchmark_cores", __doc__.split("\n")[0], figure=False)
    parser.add_argument("--n", type=int, default=100, help="number of training images")
    parser.add_argument("--width", type=int, default=1000, help="neurons in a hidden layer")
    parser.add_argument("--repeats", type=int, default=3, help="how often each is timed")
    options, images, few = read_options(parser, arguments)
    n, width, repeats = (6, 100, 1) if few else (options.n, options.width, options.repeats)
    settings = Settings(options.images, images.source, n, width, 3, options.seed, "first-layer")
    folder = fresh_folder(options.out, settings._asdict())
    net = train(make_split(images, n), settings, folder).result.net

    clock, cores = Clock(), usable_cores()
    ways = {"one core": (1, 0), "all cores": (cores, 0), "all cores, busy": (cores, cores)}
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    found: list[np.ndarray] = []
    for _ in range(repeats):
        for way, (workers, loops) in ways.items():
            with busy(loops):
                began = time.perf_counter()
                result = kkt_ref.reconstruct(net, restarts=options.restarts, workers=workers)
                seconds[way].append(time.perf_counter() - began)
            found.append(result.candidates)
            clock.say(f"{way}: {seconds[way][-1]:.1f} s")
    median = {way: statistics.median(values) for way, values in seconds.items()}
    table = {
        "cores": cores,
        "restarts": options.restarts,
        "seconds": median,
        "all_to_one": median["all cores"] / median["one core"],
        "busy_to_idle": median["all cores, busy"] / median["all cores"],
        "equal": all(np.array_equal(one, found[0]) for one in found),
    }
    print(f"\n{options.restarts} starts on {cores} cores, {options.images}, n = {n}, width {width}")
    print("".join(f"{way:16s} {value:7.1f} s\n" for way, value in median.items()), end="")
    print(
        f"all cores / one core {table['all_to_one']:.2f}, busy / idle {table['busy_to_idle']:.2f}"
    )
    print(f"equal in every bit: {table['equal']}")
    write_json(options.json, table)
    return table


if __name__ == "__main__":
    main()
