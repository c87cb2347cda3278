"""Time value and gradient of the stationarity loss, beside PyTorch and JAX in the same run.

    python demos/benchmark.py

Every implementation does the same work in one process with the same number of threads.  They
take turns, and the median time counts.  On another machine only the ratios are comparable.
"matrix products" is the time of the matrix products alone that the closed form needs.  PyTorch
and JAX take part if they are installed.

Then the demo times a step of training beside PyTorch's.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", str(os.cpu_count()))
os.environ.setdefault("OPENBLAS_NUM_THREADS", os.environ["OMP_NUM_THREADS"])
os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "4")  # idle threads would slow others down

import benchmark_peers
import matplotlib.pyplot as plt
import numpy as np
from common import BLACK, COLOURS, HATCHES, Clock, demo_parser, save_figure, write_json
from images import RATE

import kkt_ref
from kkt_ref.stationarity.closed_form import stationarity_and_gradient
from kkt_ref.stationarity.layer_residual import gram_is_cheaper

LABELS = {"closed form": "closed form (kkt_ref)", "pytorch": "PyTorch", "jax": "JAX"}
SIZES = {
    (2, 100, 100, 1): (40,),
    (784, 1000, 1000, 1): (100, 200, 1000),
    (3072, 1000, 1000, 1): (200, 1000),
}
RATIOS = ("ratio_to_pytorch", "ratio_to_products")
THREADS = int(os.environ["OMP_NUM_THREADS"])
STEPS = 200  # of training that are timed together, as many as a short training takes
AUTOGRAD_AT_MOST = 200  # candidates: beyond, our definition takes minutes
Run = Callable[[], Any]


def products(net: kkt_ref.MLP, m: int) -> Run:
    """The matrix products of one value and gradient, written into existing arrays."""
    rng = np.random.default_rng(0)
    draw = [rng.normal(size=(m, h)).astype(net.dtype) for h in net.widths]
    out, gram = [np.empty_like(a) for a in draw], np.empty((m, m), net.dtype)
    sums = [np.empty_like(W) for W in net.weights]

    def run() -> None:
        for layer, W in enumerate(net.weights):
            below, above = draw[layer], draw[layer + 1]
            np.matmul(below, W.T, out=out[layer + 1])  # forward
            if layer > 0:
                np.matmul(above, W, out=out[layer])  # backward
                np.matmul(below, W.T, out=out[layer + 1])  # tangent, through the network
            if layer < net.depth - 1 or gram_is_cheaper(m, *W.shape):
                np.matmul(above, W, out=out[layer])  # reverse, through the network
            if gram_is_cheaper(m, *W.shape):
                np.matmul(below, below.T, out=gram)
                np.matmul(above, above.T, out=gram)
                np.matmul(gram, above, out=out[layer + 1])  # tangent, in the direction r
                np.matmul(gram, below, out=out[layer])  # reverse, through r
            else:
                np.matmul(above.T, below, out=sums[layer])  # the weighted gradient
                np.matmul(below, W.T, out=out[layer + 1])  # tangent, in the direction r
                np.matmul(above, W, out=out[layer])  # reverse, through r

    return run


def contestants(net: kkt_ref.MLP, m: int) -> dict[str, Run]:
    """Return for each name a function that computes the value and the gradient in x and λ."""
    rng = np.random.default_rng(1)
    x = (rng.normal(size=(m, net.d)) / np.sqrt(net.d)).astype(net.dtype)
    y = np.where(np.arange(m) % 2, 1.0, -1.0).astype(net.dtype)
    lam = (rng.uniform(0.1, 1.0, m) / m).astype(net.dtype)
    ones = (1.0,) * net.depth
    found: dict[str, Run] = {
        "closed form": lambda: stationarity_and_gradient(net, x, y, lam, ones),
        "matrix products": products(net, m),
    }
    if m <= AUTOGRAD_AT_MOST:
        found["autograd"] = lambda: kkt_ref.stationarity_by_autograd(net, x, y, lam)
    for name, make in (("pytorch", benchmark_peers.pytorch), ("jax", benchmark_peers.jax)):
        run = make(net, x, y, lam, THREADS)
        if run is not None:
            found[name] = run
    return found


def medians(runs: dict[str, Run], seconds: float) -> dict[str, float]:
    """Median seconds of each; they take turns until about ``seconds`` are over."""
    taken: dict[str, list[float]] = {name: [] for name in runs}
    for run in runs.values():
        run()  # compile, allocate
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(next(iter(taken.values()))) < 5:
        for name, run in runs.items():
            run()  # not timed: threads of the implementation before may still be running
            begin = time.perf_counter()
            run()
            taken[name].append(time.perf_counter() - begin)
    return {name: float(np.median(times)) for name, times in taken.items()}


def row(widths: tuple[int, ...], m: int, dtype: Any, name: str, times: Any) -> dict[str, Any]:
    """Print one line of the table and return it."""
    to_pytorch = times[name] / times["pytorch"] if "pytorch" in times else None
    sizes, kind = "-".join(map(str, widths)), np.dtype(dtype).name
    shown = "" if to_pytorch is None else f"{to_pytorch:6.2f}"
    to_products = times[name] / times["matrix products"]
    print(
        f"{sizes:16} m {m:4d}  {kind:8} {name:15} {times[name]:9.5f} s  {shown:6} "
        f"{to_products:8.2f}",
        flush=True,
    )
    return {
        "task": "value and gradient",
        "sizes": sizes,
        "m": m,
        "dtype": kind,
        "implementation": name,
        "seconds": times[name],
        "ratio_to_pytorch": to_pytorch,
        "ratio_to_products": to_products,
    }


def training_rows(quick: bool, seconds: float, seed: int) -> list[dict[str, Any]]:
    """Time a step of loss-scaled descent beside one of PyTorch's descent, in float32."""
    rows, rng = list[dict[str, Any]](), np.random.default_rng(seed)
    for d, n in [(784, 100)] if quick else [(784, 100), (784, 500), (3072, 100), (3072, 500)]:
        net = kkt_ref.init_paper((d, 1000, 1000, 1), rng, dtype=np.float32)
        x = rng.normal(0.0, 0.25, (n, d)).astype(np.float32)
        y = np.resize(np.float32([-1.0, 1.0]), n)
        fit = dict(rate=RATE, max_steps=STEPS)
        runs: dict[str, Run] = {
            "descent": partial(kkt_ref.loss_scaled_descent, net, x, y, **fit)  # type: ignore[arg-type]
        }
        peer = benchmark_peers.pytorch_training(net, x, y, THREADS, STEPS)
        if peer is not None:
            runs["pytorch"] = peer
        times = {name: whole / STEPS for name, whole in medians(runs, seconds).items()}
        for name, one in times.items():
            ratio = one / times["pytorch"] if peer is not None else None
            shown = "" if ratio is None else f"{ratio:6.2f}"
            print(f"a step of training, {d}-1000-1000-1, n = {n}: {name:8} {one:.5f} s {shown}")
            row = {"task": "training step", "sizes": f"{d}-1000-1000-1", "m": n, "dtype": "float32"}
            row |= {"implementation": name, "seconds": one} | dict.fromkeys(RATIOS)
            rows.append(row | {"ratio_to_pytorch": ratio})
    return rows


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Draw the ratios to the matrix products, a group of bars for each size."""
    groups = list(dict.fromkeys((r["sizes"], r["m"], r["dtype"]) for r in rows))
    names = list(dict.fromkeys(r["implementation"] for r in rows))
    names.remove("matrix products")
    figure, ax = plt.subplots(figsize=(11, 4.6), layout="constrained")
    for place, name in enumerate(names):
        own = {(r["sizes"], r["m"], r["dtype"]): r for r in rows if r["implementation"] == name}
        ax.bar(
            [i + 0.1 + 0.8 * place / len(names) for i, group in enumerate(groups) if group in own],
            [own[group]["ratio_to_products"] for group in groups if group in own],
            width=0.8 / len(names),
            align="edge",
            label=LABELS.get(name, name),
            color=COLOURS[place],
            hatch=HATCHES[place],
            edgecolor="white",
        )
    ax.axhline(1.0, color=BLACK, lw=1, ls="--", label="the matrix products alone")
    ax.set_yscale("log")
    ticks = [0.5, 1, 2, 5, 10, 20]
    ax.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.minorticks_off()
    top = 1.5 * max(row["ratio_to_products"] for row in rows)
    ax.set(ylim=(0.5, top), ylabel="time / time of the matrix products alone")
    ax.set_title(f"value and gradient of the stationarity loss, median times, threads: {THREADS}")
    labels = []
    for sizes, m, dtype in groups:
        first, rest = sizes.split("-", 1)
        labels.append(f"{first}-\n{rest}\nm = {m}\n{dtype}")
    ax.set_xticks([i + 0.5 for i in range(len(groups))], labels, fontsize=8)
    ax.set_xlabel("network, number of candidates m, precision")
    ax.legend(ncols=2)
    save_figure(figure, path)


def main(arguments: list[str] | None = None) -> list[dict[str, Any]]:
    """Run the benchmark and return its rows."""
    parser = demo_parser("benchmark", __doc__)
    parser.add_argument(
        "--seconds", type=float, default=15.0, help="seconds for each size and precision"
    )
    options = parser.parse_args(arguments)
    sizes = dict(list(SIZES.items())[:1]) if options.quick else SIZES
    seconds, clock = (1.0 if options.quick else options.seconds), Clock()
    rows: list[dict[str, Any]] = []
    print(f"threads: {THREADS}; columns: seconds, ratio to PyTorch, ratio to the matrix products")
    for widths, ms in sizes.items():
        for m in ms:
            for dtype in (np.float64, np.float32):
                net = kkt_ref.init_uniform(widths, np.random.default_rng(options.seed)).astype(
                    dtype
                )
                times = medians(contestants(net, m), seconds)
                rows += [row(widths, m, dtype, name, times) for name in times]
    draw(rows, options.save)
    rows += training_rows(options.quick, seconds, options.seed)
    clock.say(f"picture: {options.save}")
    write_json(options.json, rows)
    return rows


if __name__ == "__main__":
    main()
