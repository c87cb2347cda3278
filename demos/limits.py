"""What limits the attack by signals: it lacks the past of the training, and the gates of layer 1.

    python demos/limits.py

Every step of training adds signals times images to the first layer.  So exactly

    W₁ = W₁(0) + Σ_i a_i x_iᵀ,    a_i = the sum over all steps of (step size · p_i · y_i δ(x_i)).

The attack by alternating least squares replaces a_i by λ_i y_i δ(x_i), with the signals of the
final network.  What it can find has a ceiling.  To measure it, the demo gives the attack more and
more of the truth, and each time solves for the images once.  On the left it gives the signals of
the true images in 1, 4, 8 and 16 networks of the training, which end equal parts of the path that
layer 1 went, and then in all networks.  On the right it gives all networks, but takes the signals
of images that are mixed with other training images; then it also gives the true images' layer-1
gates.  The attacker does not know W₁(0), so it stays in W₁ as noise.  The ridge of each solve is
the one that gives the most images, so each number is a ceiling.  A training image counts if its
own solution has an |NCC| of at least 0.8 with it, and an unseen image if any solution has.

It is a ceiling of attacks that tell images apart by their signals.  The dashed line is what
independent components find: they tell images apart by their pixels, and know no signal.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
from common import BLACK, BLUE, VERMILLION, Clock, demo_parser, read_images, save_figure, write_json
from images import RATE, TARGET, Victim, by_components, make_split, score

import kkt_ref
from kkt_ref.datasets.split import Split
from kkt_ref.kkt.multipliers import solve_nnls_gram
from kkt_ref.metrics.ncc import ncc_all_pairs
from kkt_ref.stationarity import closed_form
from kkt_ref.training.descent import log_mean_loss, loss_weights, soft_margins

RIDGES = np.logspace(-8, 1, 19)  # relative to the mean of the diagonal
Array = np.ndarray


class Training(NamedTuple):
    """A training on n images, and what it did to layer 1 with h neurons and d inputs."""

    start: Array  # (W₁, b₁) before it, (h, d + 1)
    end: Array  # (W₁, b₁) after it, (h, d + 1)
    path: Array  # the length of the path of layer 1 up to each of T networks, (T,)
    signals: list[Array]  # y_i δ(x_i) in these networks, T of (n, h)
    net: kkt_ref.MLP  # after it
    sums: Array  # a_i at the true images, the mixed ones, and these with true gates, (3, n, h)


def train(split: Split, mixed: Array, width: int, seed: int) -> Training:
    """Train as the other image demos do, and sum what each step adds to layer 1."""
    x, y, (n, d) = split.x.astype(np.float32), split.y, split.x.shape
    both = np.concatenate([x, mixed.astype(np.float32)])  # (2 n, d)
    net = kkt_ref.init_paper((d, width, width, 1), np.random.default_rng(seed), dtype=np.float32)
    start = before = np.column_stack(net.layers[0])  # (W₁, b₁)
    sums, path, paths, signals = np.zeros((3, n, width)), 0.0, [0.0], list[Array]()

    def add(record: kkt_ref.training.Record, net: kkt_ref.MLP) -> None:
        nonlocal before, path
        layer, last = np.column_stack(net.layers[0]), record.log_loss <= np.log(TARGET)
        path, before = path + float(np.linalg.norm(layer - before)), layer
        trace = closed_form.forward(net, both)
        margins, labels = soft_margins(y, trace.preactivations[-1][:n])  # (n,), (n, 1)
        p = loss_weights(margins, log_mean_loss(margins))
        back = closed_form.backward(trace, np.tile(labels, (2, 1)))
        squares = closed_form.gradient_squares(trace, back.deltas)[:n]  # ‖∇Φ(x_i)‖², (n,)
        share = (0.0 if last else RATE / squares.max()) * p[:, None]  # of this step, (n, 1)
        signal, at_mixed = np.split(back.deltas[0], 2)
        sums[:] += share * np.stack([signal, at_mixed, trace.gates[0][:n] * back.pulled[0][n:]])
        if last or path >= 1.01 * paths[-1]:  # not all networks, to save memory
            paths.append(path)
            signals.append(signal)

    net = kkt_ref.loss_scaled_descent(
        net, x, y, rate=RATE, target_loss=TARGET, record_every=1, callback=add
    ).net
    layers = start.astype(np.float64), before.astype(np.float64)
    return Training(*layers, np.array(paths[1:]), signals, net, sums)


def fitted(training: Training, inputs: Array, networks: int) -> Array:
    """Σ_k λ_ik y_i δ_k(x_i), (n, h), over so many networks k, with λ ≥ 0 by least squares."""
    ends = np.arange(1, networks + 1) / networks * training.path[-1]
    chosen = [int(np.argmin(np.abs(training.path - end))) for end in ends]
    rows = np.concatenate([training.signals[k] for k in chosen]).astype(np.float64)  # (K n, h)
    inputs = np.tile(inputs, (networks, 1))  # (x_i, 1), (K n, d + 1)
    gram, toward = (rows @ rows.T) * (inputs @ inputs.T), (rows @ training.end) * inputs
    multipliers = solve_nnls_gram(gram, toward.sum(axis=1))  # (K n,)
    return (multipliers[:, None] * rows).reshape(networks, -1, rows.shape[1]).sum(axis=0)


def ceiling(a: Array, W: Array, split: Split, noise: float) -> tuple[int, int]:
    """Solve W = aᵀ X for the images X by ridge regression; count training and unseen images.

    The equation is less exact where W is larger.  So the neurons are whitened, as in the attack:
    the squares of the errors are weighted by the inverse of W Wᵀ + (noise · s_1)².
    """
    level = noise * np.linalg.norm(W, 2)
    weighted = np.linalg.solve(W @ W.T + level**2 * np.eye(len(W)), a.T).T  # (n, h)
    normal, right = weighted @ a.T, weighted @ W  # (n, n), (n, d)
    scale, best = np.trace(normal) / len(normal), (-1, 0)
    for ridge in RIDGES:
        found = np.linalg.solve(normal + ridge * scale * np.eye(len(normal)), right)
        own = int(np.sum(np.abs(np.diag(ncc_all_pairs(split.x, found))) >= 0.8))
        if own >= best[0]:  # among equals the largest ridge
            scores = np.abs(ncc_all_pairs(split.unseen_x, found))  # (n, n)
            best = own, int(np.sum(scores.max(axis=1) >= 0.8))
    return best


def draw(rows: list[dict[str, Any]], components: int, ncc: float, n: int, path: Path) -> None:
    """Draw the number of images of each solve as a bar, and the unseen images as diamonds."""
    figure, axes = plt.subplots(
        1, 2, figsize=(12.5, 5.6), sharey=True, layout="constrained", width_ratios=(5, 3)
    )
    right = f"known: all networks, and images of NCC {ncc:.2f}"
    panels = (
        (rows[:-2], "The past is missing", "known: the signals of the true images in", BLUE, ""),
        (rows[-2:], "So are the gates of layer 1", right, VERMILLION, "//"),
    )
    for ax, (part, title, label, colour, hatch) in zip(axes, panels, strict=True):
        names = [row["known"].replace(" ", "\n") for row in part]
        counts = [row["ncc_08"] for row in part]
        bars = ax.bar(names, counts, 0.75, color=colour, hatch=hatch, edgecolor="white")
        ax.bar_label(bars, fontsize=20, padding=5, bbox={"fc": "white", "ec": "none", "pad": 1})
        unseen = [row["unseen_08"] for row in part]
        ax.plot(names, unseen, "D", color="white", mec="black", ms=9, label="unseen images")
        ax.axhline(components, color=BLACK, ls="--", label="independent components", zorder=0)
        ax.set_title(title, fontsize=20)
        ax.set_xlabel(label, fontsize=14)
        ax.tick_params(axis="x", labelsize=15)
    axes[0].set(
        ylim=(-0.03 * n, 1.4 * n),
        yticks=range(0, n + 1, max(1, n // 5)),
        ylabel=f"images with NCC ≥ 0.8, of {n}",
    )
    axes[0].legend(loc="upper left", fontsize=15)
    save_figure(figure, path)


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Run the demo and return its table."""
    parser = demo_parser("limits", __doc__, images=True)
    add = parser.add_argument
    add("--n", type=int, default=100, help="number of training images")
    add("--mixed", type=float, default=0.15, help="length of the part of others, 1: as the image")
    add("--noise", type=float, default=0.1, help="level of the whitening; 1e3: no whitening")
    options = parser.parse_args(arguments)
    images, few = read_images(parser, options.images)
    n, width = (10 if few or options.quick else options.n), (200 if options.quick else 1000)
    clock, split = Clock(), make_split(images, Victim(n=n))
    rng = np.random.default_rng(options.seed)
    # 1. Mix each training image with all others, so that its NCC falls.
    others = rng.normal(size=(n, n)) @ split.x  # (n, d)
    others *= (np.linalg.norm(split.x, axis=1) / np.linalg.norm(others, axis=1))[:, None]
    mixed = split.x + options.mixed * others  # (n, d)
    ncc = float(np.mean(np.diag(ncc_all_pairs(split.x, mixed))))
    # 2. Train, and sum the signals of all steps.  At the true images the equation is exact.
    training = train(split, mixed, width, options.seed)
    inputs, change = np.column_stack([split.x, np.ones(n)]), training.end - training.start
    error = np.linalg.norm(change - training.sums[0].T @ inputs) / np.linalg.norm(change)
    clock.say(f"trained; W1 and b1 are their start plus the sum, with an error of {error:.0e}")
    # 3. The past: solve with the signals of the true images in a few networks, and in all.
    known = {"1 network": fitted(training, inputs, 1)}
    known |= {f"{K} networks": fitted(training, inputs, K) for K in (4, 8, 16)}
    known["all networks"] = training.sums[0]
    # 4. The gates: solve with the signals of the mixed images, and with the true layer-1 gates.
    known |= {"own gates": training.sums[1], "true gates": training.sums[2]}
    rows = []
    for name, a in known.items():
        back, unseen = ceiling(a, training.end[:, :-1], split, options.noise)
        rows.append({"known": name, "ncc_08": back, "unseen_08": unseen})
        clock.say(f"{name:12} NCC >= 0.8: {back} of {n}, unseen {unseen}")
    # 5. Beside them: the attack that uses no signals.
    components = score(split, by_components(training.net, split, options.seed).candidates)
    data, unseen = components.data.ncc_08, components.unseen.ncc_08
    clock.say(f"independent components: {data} of {n}, unseen {unseen}")
    draw(rows, data, ncc, n, options.save)
    clock.say(f"figure: {options.save}")
    asked = {name: getattr(options, name) for name in ("images", "seed", "mixed", "noise")}
    table = {**asked, "n": n, "width": width, "ncc": ncc, "equation": float(error), "rows": rows}
    table |= {"components_08": data, "components_unseen_08": unseen}
    write_json(options.json, table | {"seconds": clock.seconds})
    return table


if __name__ == "__main__":
    main()
