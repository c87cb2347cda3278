"""Measure the floor: how far a network is from stationarity on its own training data.

    python demos/floor.py

The demo trains a ReLU network.  While the loss falls, it measures the residual of stationarity
on the true data with the best multipliers, for three kinds of gates and for each layer.  Then
it runs the paper's attack and draws the attack's residual beside the floor with the same gates.
The attack ends below the floor.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # matrices this small lose by threads

import matplotlib.pyplot as plt
import numpy as np
from common import BLACK, Clock, curve, demo_parser, save_figure, write_json

import kkt_ref
from kkt_ref.datasets import toys

BOX = (-1.5, 1.5)  # where the attack looks for the points
WIDTH = 0.02  # the distance over which the attack's smoothed gates open
RESIDUAL = "‖θ − Σλy∇Φ‖ / ‖θ‖"


def smoothed(net: kkt_ref.MLP) -> kkt_ref.MLP:
    """The network with the smoothed gates of the attack."""
    return net.with_activation(kkt_ref.GatedReLU(kkt_ref.attacks.gate_alpha(net, WIDTH)))


def floors(net: kkt_ref.MLP, x: np.ndarray, y: np.ndarray) -> dict[str, kkt_ref.kkt.Stationarity]:
    """The residual on the true data for each kind of gates."""
    return {
        "hard gates": kkt_ref.residual_floor(net, x, y),
        "smoothed gates": kkt_ref.residual_floor(smoothed(net), x, y),
        "gates free at the kinks (Clarke)": kkt_ref.clarke_stationarity(
            net, x, y, max_iterations=300
        ).stationarity,
    }


def attack(net: kkt_ref.MLP, x: np.ndarray, seed: int, quick: bool) -> list[dict[str, Any]]:
    """Run the paper's attack: the residual of each start by iteration, and its matches."""
    frames: dict[int, list[Any]] = {}
    found = kkt_ref.attacks.reconstruct_paper(
        net,
        m=50,
        seed=seed,
        box=BOX,
        start_scale=0.5,
        alpha=kkt_ref.attacks.gate_alpha(net, WIDTH),
        restarts=2 if quick else 4,
        max_iterations=60 if quick else 600,
        callback=lambda stage, run, *frame: frames.setdefault(run, []).append(frame),
    )
    runs = []
    for run, path in frames.items():
        one = found.of_run(run)
        norms = [kkt_ref.kkt.stationarity_norms(smoothed(net), c, one.labels, m) for c, m in path]
        matched = kkt_ref.match_points(x, one.candidates, 0.05).matched
        runs.append({"residual": [norm.relative for norm in norms], "matched": matched})
    return runs


def draw(rows: list[dict[str, Any]], runs: list[dict[str, Any]], path: Path) -> None:
    """Draw the floor by kind of gates, the floor by layer, and the attack beside the floor."""
    figure, axes = plt.subplots(1, 3, figsize=(15, 4.6), layout="constrained")
    loss = [row["loss"] for row in rows]
    for number, name in enumerate(rows[0]["floors"]):
        whole = [row["floors"][name].relative for row in rows]
        axes[0].semilogx(loss, whole, label=name, **curve(number))
    layers = np.array([row["floors"]["smoothed gates"].by_layer for row in rows])  # (k, L)
    for number, column in enumerate(layers.T):
        axes[1].semilogx(loss, column, label=f"layer {number + 1}", **curve(number))
    for ax, title in zip(axes, ("all layers", "by layer, smoothed gates"), strict=False):
        ax.invert_xaxis()
        ax.set(xlabel="training loss", title=f"floor (true data), {title}")
    for number, run in enumerate(runs):
        label = f"start {number + 1}: {run['matched']} of 20 points within 0.05"
        steps = 1 + np.arange(len(run["residual"]))
        axes[2].semilogx(steps, run["residual"], label=label, markevery=0.1, **curve(number))
    floor = rows[-1]["floors"]["smoothed gates"].relative
    axes[2].axhline(floor, color=BLACK, lw=2.5, label=f"floor on the true data: {floor:.3f}")
    axes[2].set(xlabel="L-BFGS iteration", title="the attack's residual, smoothed gates")
    for ax in axes:
        ax.set(ylabel=RESIDUAL, ylim=(0, 1.35))
        ax.grid(True)
        ax.legend(loc="lower left")
    save_figure(figure, path)


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Run the demo and return its table."""
    parser = demo_parser("floor", __doc__)
    options = parser.parse_args(arguments)
    clock = Clock()
    x, y = toys.paper_circle()
    rows: list[dict[str, Any]] = []

    # 1. Train: gradient descent towards a KKT point of the max-margin problem (P).
    def record(at: kkt_ref.training.Record, net: kkt_ref.MLP) -> None:
        if at.margin_min > 0:
            # 2. Measure the floor: stationarity (S) on the true data with the best multipliers.
            rows.append({"loss": float(np.exp(at.log_loss)), "floors": floors(net, x, y)})
            residuals = "  ".join(f"{k} {f.relative:.2f}" for k, f in rows[-1]["floors"].items())
            clock.say(f"loss {rows[-1]['loss']:.1e}  {residuals}")

    target = 1e-2 if options.quick else 1e-8
    rng = np.random.default_rng(options.seed)
    start = kkt_ref.init_paper((2, 60, 60, 1), rng, first_layer=0.3)
    trained = kkt_ref.loss_scaled_descent(
        start, x, y, rate=10.0, target_loss=target, record_every=2000, callback=record
    )
    if not rows:
        parser.error(
            f"--seed {options.seed}: the network did not separate its data in {trained.steps} "
            "steps; try another seed"
        )

    # 3. Attack: minimise the residual over candidates and multipliers (R).
    runs = attack(trained.net, x, options.seed, options.quick)
    floor = rows[-1]["floors"]["smoothed gates"].relative
    print(f"\nfloor on the true data, smoothed gates: {floor:.3f}")
    for number, run in enumerate(runs, start=1):
        end = run["residual"][-1]
        print(f"start {number}: residual {end:.3f}, {run['matched']} of 20 points within 0.05")
    draw(rows, runs, options.save)
    clock.say(f"picture: {options.save}")
    for row in rows:
        row["floors"] = {name: value._asdict() for name, value in row["floors"].items()}
    result = {"seed": options.seed, "training": rows, "attack": runs, "seconds": clock.seconds}
    write_json(options.json, result)
    return result


if __name__ == "__main__":
    main()
