"""Measure the four KKT conditions, and see which of them notices which change.

    python demos/conditions.py

The demo trains a small smooth network to an exact stationary point, so that its training data
and its multipliers satisfy the conditions.  Then it changes one thing at a time (a point, a
label, a multiplier) and measures all four conditions again.  Each condition notices some
changes and misses others.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # matrices this small lose by threads

import matplotlib.pyplot as plt
import numpy as np
from common import BLUE, GREY, Clock, curve, demo_parser, save_figure, write_json

import kkt_ref
from kkt_ref.datasets import toys

STATIONARITY = "‖θ − Σλy∇Φ‖ / ‖θ‖"
CONDITIONS = {
    "stationarity": STATIONARITY,
    "primal_feasibility": "max (q − yΦ)₊ / q",
    "dual_feasibility": "max (−λ)₊ / max |λ|",
    "complementary_slackness": "Σ|λ(yΦ − q)| / Σ|λ|q",
}
Data = tuple[np.ndarray, np.ndarray, np.ndarray]  # x (n, 2), y (n,), λ (n,)


def changes(x: np.ndarray, y: np.ndarray, lam: np.ndarray, rng: np.random.Generator) -> Any:
    """The true data, and the data with one thing changed, by name."""
    n = len(y)
    first = np.arange(n) == 0
    halves = np.where(first, 0.5, 1.0) * lam
    return {
        "true data": (x, y, lam),
        "a point moved 0.1 along the circle": (turned(x, 0.1), y, lam),
        "a point moved 0.1 inwards": (x * np.where(first, 0.9, 1.0)[:, None], y, lam),
        "a label flipped": (x, np.where(first, -y, y), lam),
        "multipliers off by 10%": (x, y, lam * (1 + 0.1 * rng.choice([-1.0, 1.0], n))),
        "a multiplier's sign flipped": (x, y, np.where(first, -lam, lam)),
        "a point split in two": (np.r_[x, x[:1]], np.r_[y, y[:1]], np.r_[halves, halves[:1]]),
    }


def turned(x: np.ndarray, distance: float) -> np.ndarray:
    """The points with the first moved along its circle."""
    angle = distance / np.linalg.norm(x[0])
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return np.concatenate([x[:1] @ turn.T, x[1:]])


def measure(net: kkt_ref.MLP, data: Data, q: float) -> dict[str, float]:
    """How far each condition is violated at the margin q of the true data; 0 is satisfied."""
    report = kkt_ref.kkt_report(net, *data, margin=q)
    return {
        "stationarity": report.stationarity.relative,
        "primal_feasibility": report.primal_feasibility,
        "dual_feasibility": report.dual_feasibility / float(np.abs(data[2]).max()),
        "complementary_slackness": report.complementary_slackness,
    }


def draw(table: dict[str, dict[str, float]], sweep: dict[str, list[float]], path: Path) -> None:
    """Draw a panel of bars for each condition, and the stationarity as a point moves away."""
    figure, axes = plt.subplots(
        1, 5, figsize=(16, 4.4), layout="constrained", width_ratios=[1, 1, 1, 1, 1.7]
    )
    rows = np.arange(len(table))
    for ax, (name, formula) in zip(axes, CONDITIONS.items(), strict=False):
        values = np.array([line[name] for line in table.values()])
        # On a linear scale a small violation looks small.  Bars above 1 are cut at 1.2.
        ax.barh(rows, np.minimum(values, 1.2), color=BLUE, height=0.6)
        for row, value in zip(rows, values, strict=True):
            text = "0" if value == 0 else f"{value:.2g}" if value <= 1 else f"→ {value:.2g}"
            ax.text(min(value, 1.2) + 0.04, row, text, va="center", fontsize=11)
        ax.set(xlim=(0, 1.6), ylim=(rows[-1] + 0.6, -0.6), xlabel="violation (0: satisfied)")
        ax.set_title(f"{name.replace('_', ' ')}\n{formula}")
        ax.set_xticks([0, 0.5, 1])
        ax.set_yticks(rows, list(table) if ax is axes[0] else [""] * len(rows))
        ax.axvline(1, color=GREY, lw=0.8, ls=":")
    ax = axes[-1]
    for number, name in enumerate(("multipliers kept", "multipliers fitted again")):
        ax.loglog(sweep["distance"], sweep[name], label=name, **curve(number))
    ax.set_title("stationarity as one point moves")
    ax.set(xlabel="distance moved along the circle", ylabel=STATIONARITY)
    ax.legend()
    ax.grid(True)
    save_figure(figure, path)


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Run the demo and return its table."""
    parser = demo_parser("conditions", __doc__)
    options = parser.parse_args(arguments)
    clock, rng = Clock(), np.random.default_rng(options.seed)

    # 1. Train: with weight decay, every minimum of the loss is an exact solution of (S).
    x, y = toys.paper_circle()
    start = kkt_ref.init_paper((2, 50 if options.quick else 100, 1), rng, first_layer=0.3)
    trained = kkt_ref.training.weight_decay_optimum(
        start.with_activation(kkt_ref.Softplus(50.0)), x, y, decay=5e-4 if options.quick else 5e-6
    )
    net, lam = trained.net, trained.multipliers
    q = float(kkt_ref.margins(net, x, y).min())
    clock.say(f"training: {trained.stop_reason}")

    # 2. Change one thing at a time, and measure the four conditions of problem (P) again.
    table = {
        name: measure(net, data, q)
        for name, data in changes(x, y, lam, np.random.default_rng(0)).items()
    }
    print("\nViolation of each condition; 0 means that it is satisfied.")
    print(f"{'':36}" + "".join(f"  {name.replace('_', ' ')}" for name in CONDITIONS))
    for name, line in table.items():
        print(f"{name:36}" + "".join(f"{v:{len(name) + 2}.2g}" for name, v in line.items()))

    # 3. Move one point farther and farther.  Can other multipliers compensate for that?
    distance = np.geomspace(1e-5, 0.5, 30)
    moved = [turned(x, d) for d in distance]
    sweep = {
        "distance": distance.tolist(),
        "multipliers kept": [
            kkt_ref.kkt.stationarity_norms(net, z, y, lam).relative for z in moved
        ],
        "multipliers fitted again": [kkt_ref.residual_floor(net, z, y).relative for z in moved],
    }
    draw(table, sweep, options.save)
    clock.say(f"picture: {options.save}")
    result = {"seed": options.seed, "conditions": table, "sweep": sweep, "seconds": clock.seconds}
    write_json(options.json, result)
    return result


if __name__ == "__main__":
    main()
