"""The 2D toy: reconstruct training points in the plane from the weights of a network.

    python demos/toy2d.py
    python demos/toy2d.py --paper

This demo trains a ReLU network on 20 points by gradient descent, and then reconstructs the
points from the weights in two ways: from all four KKT conditions, and from stationarity
alone, which is the attack of the paper.  It prints a table and saves a figure.  With --paper
the network has three layers and 1000 neurons in each hidden one, as the authors' networks have.
"""

from __future__ import annotations

import os
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # matrices this small lose by threads

import numpy as np
from common import Clock, demo_parser, path_to, write_json
from page_toy2d import Snapshots, page_data, write_page
from plot_toy2d import NAMES, PAPER_GATES, Trace, animate, draw, summary
from toy2d_paper import by_layer_1, train_wide

import kkt_ref
from kkt_ref.datasets import toys
from kkt_ref.stationarity.problems import Problem, Regression

BOX = (-1.5, 1.5)  # all that the attacks know about the data

NOTHING = {
    **{f"matched_{key}": 0 for key in ("05", "03", "01")},
    **{"strays": 0, "stray_mass": 0.0, "relative_residual": 1.0, "candidates": 0},
}


def data_set(name: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Points (n, 2) and labels (n,) of a toy."""
    rng = np.random.default_rng(seed)
    circle, alternating = toys.paper_circle()
    return {
        "circle": lambda: (circle, alternating),
        "even": lambda: toys.even_circle(20),
        "uneven": lambda: toys.uneven_circle(20, rng),
        "random-labels": lambda: (circle, rng.permutation(alternating)),
        "spiral": lambda: toys.spiral(20),
        "disc": lambda: toys.disc(20, rng),
        "three-classes": lambda: toys.class_circle(21, 3),
    }[name]()


def train(
    x: np.ndarray,
    y: np.ndarray,
    seed: int,
    quick: bool,
    clock: Clock,
    snapshots: Snapshots | None,
    paper: bool = False,
) -> Any:
    """Train to a very small loss, which brings the network close to a KKT point."""
    width, target = (100, 1e-6) if quick else (300, 1e-16)
    outputs = 1 if set(y) == {-1, 1} else len(set(y))
    start = kkt_ref.init_paper((2, width, outputs), np.random.default_rng(seed), first_layer=0.3)

    def progress(record: kkt_ref.training.Record, net: kkt_ref.MLP) -> None:
        if snapshots is not None:
            snapshots.take(record, net)
        if record.step % 10_000 == 0 or record.log_loss <= np.log(target):
            clock.say(
                f"step {record.step:6d}  log10 loss {record.log_loss / np.log(10):6.1f}  "
                f"margins {record.margin_min:.2f} to {record.margin_max:.2f}"
            )

    if paper:
        return train_wide(x, y, seed, quick, progress)
    return kkt_ref.loss_scaled_descent(
        start,
        x,
        y,
        rate=10.0,
        max_steps=150_000,
        target_loss=target,
        record_every=10_000 if snapshots is None else 20,
        callback=progress,
    )


def by_all_conditions(net: kkt_ref.MLP, trace: Trace) -> kkt_ref.Reconstruction:
    """Attack with all four KKT conditions: non-negative least squares where kinks meet."""
    return kkt_ref.reconstruct(net, box=BOX, callback=trace.take)


def by_stationarity(
    net: kkt_ref.MLP, seed: int, quick: bool, trace: Trace, problem: Problem | None = None
) -> kkt_ref.Reconstruction:
    """Attack with stationarity alone: 50 candidates with balanced labels, several runs.

    With the problem of regression, a multiplier may have any sign.
    """
    return kkt_ref.attacks.reconstruct_paper(
        net,
        m=50,
        seed=seed,
        box=BOX,
        start_scale=0.5,
        alpha=kkt_ref.attacks.gate_alpha(net, PAPER_GATES),
        restarts=2 if quick else 8,
        max_iterations=300 if quick else 1000,
        callback=trace.take,
        problem=problem,
    )


def row(x: np.ndarray, found: kkt_ref.Reconstruction, seconds: float) -> dict[str, Any]:
    """The results of one method, as a line of the table."""
    matches = {
        key: kkt_ref.match_points(x, found.candidates, tolerance, found.multipliers)
        for key, tolerance in (("05", 0.05), ("03", 0.03), ("01", 0.01))
    }
    best = found.runs[found.best]
    return {
        **{f"matched_{key}": match.matched for key, match in matches.items()},
        "missed": matches["05"].missed,
        "strays": matches["05"].strays,
        "stray_mass": matches["05"].stray_mass,
        "relative_residual": best.objective**0.5,
        "candidates": len(found.candidates),
        "seconds": seconds,
    }


def conditions(net: kkt_ref.MLP, x: np.ndarray, y: np.ndarray) -> dict[str, Any]:
    """How far the true data violate the KKT conditions, and the smallest residuals they reach."""
    report = kkt_ref.kkt_report(net, x, y)
    gated = net.with_activation(kkt_ref.GatedReLU(kkt_ref.attacks.gate_alpha(net, PAPER_GATES)))
    return {
        "stationarity": report.stationarity.relative,
        "stationarity_clarke": kkt_ref.clarke_stationarity(net, x, y).stationarity.relative,
        "primal_feasibility": report.primal_feasibility,
        "dual_feasibility": report.dual_feasibility,
        "complementary_slackness": report.complementary_slackness,
        "epsilon": report.epsilon,
        "delta": report.delta,
        "floor": kkt_ref.residual_floor(gated, x, y).relative,
    }


def print_table(n: int, kkt: dict[str, Any], methods: dict[str, dict[str, Any]]) -> None:
    """Print the violations of the conditions on the true data, then one line for each method."""
    print("\nViolation of the KKT conditions by the true data (0: satisfied)")
    for name, value in (
        ("stationarity, the network's own gates", kkt["stationarity"]),
        ("stationarity, gates free at the kinks (Clarke)", kkt["stationarity_clarke"]),
        ("stationarity, smoothed gates of the paper's attack", kkt["floor"]),
        ("primal feasibility", kkt["primal_feasibility"]),
        ("dual feasibility", kkt["dual_feasibility"]),
        ("complementary slackness", kkt["complementary_slackness"]),
    ):
        print(f"  {name:50}  {value:.3f}")
    print(f"\n{'':50}  points of {n} within        stray  relative")
    print(f"{'method':50}  .05 .03 .01  missed  strays   mass  residual  seconds")
    for name, line in methods.items():
        label = f"{NAMES[name]}, all runs" if name == "paper" else NAMES[name]
        matched = " ".join(f"{line[f'matched_{key}']:3d}" for key in ("05", "03", "01"))
        print(
            f"{label:50}  {matched}  {line['missed']:6d}  {line['strays']:6d}  "
            f"{line['stray_mass']:.3f}  {line['relative_residual']:8.3f}  {line['seconds']:7.1f}"
        )


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Run the demo and return its table."""
    parser = demo_parser("toy2d", __doc__)
    names = ("circle", "even", "uneven", "random-labels", "spiral", "disc", "three-classes")
    parser.add_argument(
        "--method",
        choices=("both", "full", "paper"),
        default="both",
        help="all four conditions (full), stationarity alone (paper), or both",
    )
    parser.add_argument(
        "--paper", action="store_true", help="the paper's network, 2-1000-1000-1 (two minutes)"
    )
    parser.add_argument("--data", choices=names, default="circle", help="the training points")
    parser.add_argument("--html", type=path_to(".html"), help="also write a movable page")
    parser.add_argument("--animate", action="store_true", help="also write a GIF beside the figure")
    parser.add_argument("--show", action="store_true", help="open a window")
    options = parser.parse_args(arguments)
    if options.html and options.method != "both":
        parser.error("--html: the page shows both attacks; leave --method out")
    if options.paper and (options.html or options.data == "three-classes"):
        parser.error("--paper: this network is too large for a page, and has one output")

    clock = Clock()
    # 1. Train: gradient descent converges to a KKT point of the max-margin problem (P).
    x, y = data_set(options.data, options.seed)
    snapshots = Snapshots() if options.html else None
    trained = train(x, y, options.seed, options.quick, clock, snapshots, options.paper)
    last, train_seconds = trained.history.records[-1], clock.seconds
    if snapshots is not None and snapshots.taken[-1][0].step < last.step:
        snapshots.taken.append((last, trained.net.theta))
    clock.say(f"training: {trained.stop_reason}")
    # 2. Check how near it is: stationarity (S) and the other conditions on the true data.
    kkt = conditions(trained.net, x, y)

    methods, traces = {}, {}
    # 3. Attack with all four conditions: only points on the margin have a multiplier λ > 0.
    full = "layer_1" if options.paper else "full"
    if options.method in ("both", "full"):
        begin, trace = clock.seconds, Trace()
        try:
            if options.paper:  # on the first layer alone, since there are a million weights
                found = by_layer_1(trained.net, BOX, trace)
            else:
                found = by_all_conditions(trained.net, trace)
            methods[full] = row(x, found, clock.seconds - begin)
            traces[full] = trace.ended(found)
            clock.say(f"{NAMES[full]}: {found.runs[0].stop_reason}")
        except ValueError as error:  # no margin is found if the network is trained too little
            methods[full] = NOTHING | {"missed": len(x), "seconds": clock.seconds - begin}
            clock.say(f"all four conditions found nothing: {error}")
    # 4. Attack with stationarity alone: the loss (R) of the paper, from random starts.
    if options.method in ("both", "paper"):
        begin, trace = clock.seconds, Trace()
        found = by_stationarity(trained.net, options.seed, options.quick, trace)
        seconds = clock.seconds - begin
        methods["paper"] = row(x, found, seconds)
        methods["paper_best"] = row(x, found.of_run(found.best), seconds)
        traces["paper"] = trace.ended(found)
        reason = found.runs[found.best].stop_reason
        clock.say(f"stationarity alone, best of {len(found.runs)} runs: {reason}")
    # 5. Compare with the training points, which the attacks have not seen.
    print_table(len(x), kkt, methods)
    print()
    for name in (full, "paper_best"):
        if name in methods:
            print(summary(name, methods[name], len(x)).replace("\n", " "))

    draw(trained.net, x, y, traces, methods, kkt, options.save, options.show)
    clock.say(f"figure: {options.save}")
    if options.animate and traces:
        path = options.save.with_suffix(".gif")
        animate(trained.net, x, y, traces, path)
        clock.say(f"animation: {path}")
    if snapshots is not None:
        if trained.net.K == 1:
            trace = Trace()
            found = by_stationarity(trained.net, options.seed, options.quick, trace, Regression())
            traces["signed"] = trace.ended(found)
        write_page(options.html, page_data(trained.net, snapshots, x, y, traces))
        clock.say(f"page: {options.html}")
    table = {
        "seed": options.seed,
        "data": options.data,
        "widths": trained.net.widths,
        "seconds": clock.seconds,
        "train": {
            "steps": trained.steps,
            "seconds": train_seconds,
            "loss": float(np.exp(last.log_loss)),
            "margin_min": last.margin_min,
            "normalised_margin": kkt_ref.kkt_report(trained.net, x, y).normalised_margin,
        },
        "kkt": kkt,
        "methods": methods,
    }
    write_json(options.json, table)
    return table


if __name__ == "__main__":
    main()
