"""The four KKT conditions, one by one, and what breaks each.

    python demos/conditions.py

trains a small smooth network to an exact stationary point, so that its data and
multipliers satisfy the conditions.  Then it changes one thing at a time (a point, a label,
a multiplier) and measures all four again: each notices some changes and misses others.
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

CONDITIONS = {
    "stationarity": "‖θ − Σλy∇Φ‖ / ‖θ‖",
    "primal_feasibility": "max (q − yΦ)₊ / q",
    "dual_feasibility": "max (−λ)₊ / max λ",
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
    """Each condition's violation at the margin q of the true data; 0 is satisfied."""
    report = kkt_ref.kkt_report(net, *data, margin=q)
    return {
        "stationarity": report.stationarity.relative,
        "primal_feasibility": report.primal_feasibility,
        "dual_feasibility": report.dual_feasibility / float(np.abs(data[2]).max()),
        "complementary_slackness": report.complementary_slackness.relative,
    }


def draw(table: dict[str, dict[str, float]], sweep: dict[str, list[float]], path: Path) -> None:
    """A panel of bars for each condition, and the violation as a point moves away."""
    figure, axes = plt.subplots(
        1, 5, figsize=(16, 4.4), layout="constrained", width_ratios=[1, 1, 1, 1, 1.7]
    )
    rows = np.arange(len(table))
    for ax, (name, formula) in zip(axes, CONDITIONS.items(), strict=False):
        values = np.array([line[name] for line in table.values()])
        ax.barh(rows, values, color="#2456a4", height=0.6)
        for row, value in zip(rows, values, strict=True):
            ax.text(max(value, 1e-8) * 1.7, row, f"{value:.1g}", va="center", fontsize=9)
        ax.set(xscale="log", xlim=(1e-8, 300), ylim=(rows[-1] + 0.6, -0.6))
        ax.set_title(f"{name.replace('_', ' ')}\n{formula}", fontsize=10)
        ax.set_xticks([1e-8, 1e-4, 1.0])
        ax.set_yticks(rows, list(table) if ax is axes[0] else [""] * len(rows))
    ax = axes[-1]
    for name, style in (("multipliers kept", "-"), ("multipliers fitted again", "--")):
        ax.loglog(sweep["distance"], sweep[name], style, color="#c0392b", label=name)
    ax.set_title("one point moved: stationarity", fontsize=10)
    ax.set_xlabel("distance along the circle")
    ax.legend(frameon=False)
    ax.grid(True, alpha=0.3)
    save_figure(figure, path)


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Run the demo and return its table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seed", type=seed_number, default=0, help="seed of the initial weights")
    parser.add_argument("--quick", action="store_true", help="smaller network, trained less")
    add_outputs(parser, "conditions.png")
    options = parser.parse_args(arguments)
    clock, rng = Clock(), np.random.default_rng(options.seed)

    # 1. Train: with weight decay a minimum is an exact solution of stationarity (S).
    x, y = toys.paper_circle()
    start = kkt_ref.init_paper((2, 50 if options.quick else 100, 1), rng, first_layer=0.3)
    trained = kkt_ref.weight_decay_optimum(
        start.with_activation(kkt_ref.Softplus(50.0)), x, y, decay=1e-2 if options.quick else 1e-4
    )
    net, lam = trained.net, trained.multipliers
    q = float(kkt_ref.margins(net, x, y).min())
    clock.say(f"training: {trained.stop_reason}")

    # 2. Change one thing at a time and measure the conditions of the problem (P) again.
    table = {
        name: measure(net, data, q)
        for name, data in changes(x, y, lam, np.random.default_rng(0)).items()
    }
    print(f"\n{'':36}stationarity    primal      dual  slackness   (0 is satisfied)")
    for name, line in table.items():
        print(f"{name:36}" + "".join(f"{value:11.1e}" for value in line.values()))

    # 3. Move one point ever farther: do other multipliers make up for it?
    distance = np.geomspace(1e-5, 0.5, 30)
    moved = [turned(x, d) for d in distance]
    sweep = {
        "distance": distance.tolist(),
        "multipliers kept": [kkt_ref.stationarity_norms(net, z, y, lam).relative for z in moved],
        "multipliers fitted again": [kkt_ref.residual_floor(net, z, y).relative for z in moved],
    }
    draw(table, sweep, options.save)
    clock.say(f"figure: {options.save}")
    result = {"seed": options.seed, "conditions": table, "sweep": sweep, "seconds": clock.seconds}
    write_json(options.json, result)
    return result


if __name__ == "__main__":
    main()
