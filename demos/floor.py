"""The floor: how far from stationary a network is on its own training data.

    python demos/floor.py

trains a ReLU network and measures, as the loss falls, the residual on the true data with
the best multipliers, by layer and with three kinds of gates.  Then the paper's attack runs,
and its residual is drawn beside the floor with the same gates: it ends below.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # matrices this small lose by threads

import matplotlib.pyplot as plt
import numpy as np
from report import Clock, add_outputs, seed_number, write_json
from style import save_figure

import kkt_ref
from kkt_ref.datasets import toys

BOX, WIDTH = (-1.5, 1.5), 0.02  # of the attack; the distance over which its gates open
COLOURS = {"hard gates": "#888888", "smoothed gates": "#a65a00", "Clarke: kinks free": "#1b7f4d"}


def smoothed(net: kkt_ref.MLP) -> kkt_ref.MLP:
    """The network with the attack's gates."""
    return net.with_activation(kkt_ref.GatedReLU(kkt_ref.gate_alpha(net, WIDTH)))


def floors(net: kkt_ref.MLP, x: np.ndarray, y: np.ndarray) -> dict[str, kkt_ref.Stationarity]:
    """The residual on the true data for each kind of gates."""
    return {
        "hard gates": kkt_ref.residual_floor(net, x, y),
        "smoothed gates": kkt_ref.residual_floor(smoothed(net), x, y),
        "Clarke: kinks free": kkt_ref.clarke_stationarity(
            net, x, y, max_iterations=300
        ).stationarity,
    }


def attack(net: kkt_ref.MLP, x: np.ndarray, seed: int, quick: bool) -> list[dict[str, Any]]:
    """The paper's attack: each start's residual by iteration, and the points it found."""
    frames: dict[int, list[Any]] = {}
    found = kkt_ref.reconstruct_paper(
        net,
        candidates=50,
        seed=seed,
        box=BOX,
        start_scale=0.5,
        alpha=kkt_ref.gate_alpha(net, WIDTH),
        restarts=2 if quick else 4,
        max_iterations=60 if quick else 600,
        callback=lambda stage, run, *frame: frames.setdefault(run, []).append(frame),
    )
    runs = []
    for run, path in frames.items():
        one = found.of_run(run)
        norms = [kkt_ref.stationarity_norms(smoothed(net), c, one.labels, m) for c, m in path]
        matched = kkt_ref.match_points(x, one.candidates, 0.05).matched
        runs.append({"residual": [norm.relative for norm in norms], "matched": matched})
    return runs


def draw(rows: list[dict[str, Any]], runs: list[dict[str, Any]], path: Path) -> None:
    """The floor by gates, the floor by layer, and the attack beside it."""
    figure, axes = plt.subplots(1, 3, figsize=(15, 4.6), layout="constrained")
    loss = [row["loss"] for row in rows]
    for name, colour in COLOURS.items():
        whole = [row["floors"][name].relative for row in rows]
        axes[0].semilogx(loss, whole, ".-", color=colour, label=name)
    layers = np.array([row["floors"]["smoothed gates"].by_layer for row in rows])  # (k, L)
    for layer, column in enumerate(layers.T, start=1):
        axes[1].semilogx(loss, column, ".-", label=f"layer {layer}")
    for ax, title in zip(axes, ("all layers", "by layer, smoothed gates"), strict=False):
        ax.invert_xaxis()
        ax.set(xlabel="training loss", ylim=(0, 1.05))
        ax.set_title(f"Residual on the true data, {title}", fontsize=11)
    for number, run in enumerate(runs, start=1):
        label = f"start {number}: {run['matched']} of 20 points"
        axes[2].semilogx(1 + np.arange(len(run["residual"])), run["residual"], label=label)
    floor = rows[-1]["floors"]["smoothed gates"].relative
    axes[2].axhline(floor, color="k", ls="--", label="floor: the true data")
    axes[2].set_title("The attack's residual, same gates", fontsize=11)
    axes[2].set(xlabel="L-BFGS iteration", ylim=(0, 1.35))
    axes[0].set_ylabel("‖θ − Σλy∇Φ‖ / ‖θ‖")
    for ax in axes:
        ax.grid(True, alpha=0.3)
        ax.legend(frameon=False, loc="lower left")
    save_figure(figure, path)


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Run the demo and return its table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seed", type=seed_number, default=0, help="seed of the initial weights")
    parser.add_argument("--quick", action="store_true", help="smaller network, trained less")
    add_outputs(parser, "floor.png")
    options = parser.parse_args(arguments)
    clock = Clock()
    x, y = toys.paper_circle()
    rows: list[dict[str, Any]] = []

    # 1. Train: gradient descent towards a KKT point of the max-margin problem (P).
    def record(at: kkt_ref.Record, net: kkt_ref.MLP) -> None:
        if at.margin_min > 0:
            # 2. The floor: stationarity (S) on the true data, with the best multipliers.
            rows.append({"loss": float(np.exp(at.log_loss)), "floors": floors(net, x, y)})
            residuals = "  ".join(f"{k} {f.relative:.2f}" for k, f in rows[-1]["floors"].items())
            clock.say(f"loss {rows[-1]['loss']:.1e}  {residuals}")

    width, target = (60, 1e-2) if options.quick else (60, 1e-8)
    start = kkt_ref.init_paper(
        (2, width, width, 1), np.random.default_rng(options.seed), first_layer=0.3
    )
    trained = kkt_ref.loss_scaled_descent(
        start, x, y, rate=10.0, target_loss=target, record_every=2000, callback=record
    )
    if not rows:
        parser.error(f"--seed {options.seed}: no margin after {trained.steps} steps; try another")

    # 3. Attack: minimise the residual over candidates and multipliers (R).
    runs = attack(trained.net, x, options.seed, options.quick)
    floor = rows[-1]["floors"]["smoothed gates"].relative
    print(f"\nfloor on the true data, the attack's gates: {floor:.3f}")
    for number, run in enumerate(runs, start=1):
        end = run["residual"][-1]
        print(f"start {number}: residual {end:.3f}, {run['matched']} of 20 points within 0.05")
    draw(rows, runs, options.save)
    clock.say(f"figure: {options.save}")
    for row in rows:
        row["floors"] = {name: value._asdict() for name, value in row["floors"].items()}
    result = {"seed": options.seed, "training": rows, "attack": runs, "seconds": clock.seconds}
    write_json(options.json, result)
    return result


if __name__ == "__main__":
    main()
