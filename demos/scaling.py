"""Show how the times of training and of one start of the attack grow with n, width and d.

    python demos/scaling.py

One of the three varies at a time.  The data are random vectors with random labels; direction j has
a variance in proportion to 1/j, and a pixel has a standard deviation of 1/4, as in images.  A
network is trained to a loss of 4e-6 if n <= 200 and width <= 1000, a larger one for 150 steps: with
random labels, the number k of coordinates of the attack hardly changes after that.

The time of a step is that of the best group of 50 steps, with one record.  A start is the best of
three equal ones; it has one BLAS thread, because the attack gives each core a start of its own.
Dashed lines show what the count of floating-point operations predicts from the largest size.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", str(os.cpu_count()))
os.environ.setdefault("OPENBLAS_NUM_THREADS", os.environ["OMP_NUM_THREADS"])

import matplotlib.pyplot as plt
import numpy as np
from report import Clock, add_outputs, seed_number, write_json
from scaling_counts import start_bytes, start_operations, step_operations, training_bytes
from scaling_measure import Point, measure, network, samples
from style import BLACK, BLUE, VERMILLION, save_figure

SIZES = {
    "n": (50, 100, 200, 500, 1000, 2000),
    "width": (250, 500, 1000, 2000, 4000),
    "d": (192, 400, 784, 1568, 3072),
}
MIDDLE = {"n": 100, "width": 1000, "d": 784}
QUICK = {"n": (10, 20, 40), "width": (25, 50, 100), "d": (24, 36, 64)}
QUICK_MIDDLE = {"n": 20, "width": 50, "d": 36}
FAR = 50_000  # samples, as many as CIFAR-10 has
LOOKS = {"step": ("training step", BLUE, "o"), "start": ("attack start", VERMILLION, "s")}
FAR_COLUMNS = ("what", "seconds_by_fit", "seconds_by_count", "bytes")
Panel = dict[int, Point]


def power_law(panel: Panel, field: str, kind: str) -> tuple[float, float]:
    """The p and c of c · size^p, by least squares of the logarithms."""
    values = [getattr(point, field)[kind] for point in panel.values()]
    p, log_c = np.polyfit(np.log(list(panel)), np.log(values), 1).tolist()
    return p, np.exp(log_c).item()


def far_away(panel: Panel, width: int, d: int, seed: int) -> list[dict[str, Any]]:
    """Print and return what a training and a start with FAR samples would need."""
    n, m = max(panel), min(3 * d, 3 * width, 1000)  # no start has more candidates by default
    last, net = panel[n], network(width, d, seed)
    speed = {kind: last.operations[kind] / last.seconds[kind] for kind in LOOKS}
    fit = {kind: c * FAR**p for kind in LOOKS for p, c in [power_law(panel, "seconds", kind)]}
    share, evaluations = last.attack["used"] / last.attack["m"], last.attack["evaluations"]
    start, start_n = (
        start_operations(width, min(d, width), many, int(share * many), evaluations)
        for many in (m, FAR)
    )
    step = step_operations(FAR, width, d) / speed["step"]
    steps = max(point.steps for point in panel.values())  # of the longest training
    training = training_bytes(net, *samples(n, d, seed), FAR)
    small = network(8, 8, seed)  # it leaves little but the arrays of m² numbers
    memory, memory_n = start_bytes(net, m), start_bytes(small, m) * (FAR / m) ** 2
    rows = (
        ("a step of training", fit["step"], step, training),
        (f"{steps} steps of training", steps * fit["step"], steps * step, training),
        (f"a start with m = {m}", fit["start"], start / speed["start"], memory),
        ("a start with m = n", None, start_n / speed["start"], memory_n),
    )
    print(f"\nn = {FAR}, width {width}, d = {d}; the data take {4e-9 * FAR * d:.2g} GB in float32")
    print(f"{'':28} {'s, by fit':>12} {'s, by count':>12} {'GB':>8}")
    for what, fitted, counted, size in rows:
        shown = "" if fitted is None else f"{fitted:.3g}"
        print(f"{what:28} {shown:>12} {counted:12.3g} {size / 1e9:8.2g}")
    return [dict(zip(FAR_COLUMNS, row, strict=True)) for row in rows]


def draw(panels: dict[str, Panel], middle: dict[str, int], exponents: Any, path: Path) -> None:
    """Draw the seconds of a step and of a start over each of the three, beside the counts."""
    figure, axes = plt.subplots(1, 3, figsize=(13, 5.6), layout="constrained", sharey=True)
    for ax, (name, panel) in zip(axes, panels.items(), strict=True):
        sizes, last = list(panel), panel[max(panel)]
        for kind, (label, colour, marker) in LOOKS.items():
            p, q = exponents[name][kind].values()
            seconds = [point.seconds[kind] for point in panel.values()]
            speed = last.operations[kind] / last.seconds[kind]
            counted = [point.operations[kind] / speed for point in panel.values()]
            ax.loglog(sizes, seconds, c=colour, marker=marker, label=f"{label}: exponent {p:z.2f}")
            ax.loglog(sizes, counted, c=BLACK, ls="--", lw=1.5, label=f"by the count: {q:z.2f}")
        fixed = ", ".join(f"{other} = {middle[other]}" for other in middle if other != name)
        ax.set(xlabel=name, title=fixed)
        ax.set_xticks(sizes, [str(size) for size in sizes])
        ax.minorticks_off()
        ax.grid(True)
        ax.legend(loc="upper left", fontsize=13)
    low, high = axes[0].get_ylim()
    axes[0].set(ylabel="seconds", ylim=(low, 60 * high))  # room for the legends
    save_figure(figure, path)


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Run the demo and return its table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="measure only small networks")
    parser.add_argument("--seed", type=seed_number, default=0, help="seed of data and networks")
    add_outputs(parser, "scaling.png")
    options, clock = parser.parse_args(arguments), Clock()
    sizes, middle = (QUICK, QUICK_MIDDLE) if options.quick else (SIZES, MIDDLE)
    threads = os.environ["OPENBLAS_NUM_THREADS"]
    print(f"BLAS threads: {threads} in training, 1 in a start of the attack")
    # 1. Measure each size once; the one in the middle belongs to all panels.
    points: dict[tuple[int, ...], Point] = {}
    panels: dict[str, Panel] = {name: {} for name in sizes}
    for name, value in ((name, value) for name, values in sizes.items() for value in values):
        size = middle | {name: value}
        n, width, d = size.values()
        if (n, width, d) not in points:
            points[n, width, d] = measure(n, width, d, options.seed)
            clock.say(f"n = {n:4}, width {width:4}, d = {d:4}: {points[n, width, d].summary}")
        panels[name][value] = points[n, width, d]
    # 2. Compare how the times grow with how the counts of operations grow.
    exponents: dict[str, dict[str, dict[str, float]]] = {}
    print(f"\n{'exponents':20} {'measured':>10} {'counted':>10}")
    for name, panel in panels.items():
        exponents[name] = {}
        for kind, (label, *_) in LOOKS.items():
            p, q = (power_law(panel, field, kind)[0] for field in ("seconds", "operations"))
            exponents[name][kind] = {"measured": p, "counted": q}
            print(f"{name + ', ' + label:20} {p:z10.2f} {q:z10.2f}")
    # 3. Continue both to the number of samples of a large data set.
    far = far_away(panels["n"], middle["width"], middle["d"], options.seed)
    draw(panels, middle, exponents, options.save)
    clock.say(f"picture: {options.save}")
    tables = {
        name: [{name: value} | point._asdict() for value, point in panel.items()]
        for name, panel in panels.items()
    }
    table = {"threads": int(threads), "seed": options.seed, "middle": middle, "panels": tables}
    table |= {"exponents": exponents, "far_n": FAR, "far": far, "seconds": clock.seconds}
    write_json(options.json, table)
    return table


if __name__ == "__main__":
    main()
