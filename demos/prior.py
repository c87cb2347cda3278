"""Ask how much the attacker must know, and what the loss of the true data says.

    python demos/prior.py
    python demos/prior.py --images cifar10

The demo adds one number, the shift, to all pixels, trains a network, and attacks it with several
kinds of knowledge: the mean of the data, the range of the pixels, both, none, or a wrong belief
in a shift of 0.  While the attack minimises its loss (R), the demo scores its candidates.  The
picture shows the score by the loss, in units of the loss of the true data.  So attacks can be
compared at equal loss, and left of the vertical line they explain the weights better than the
true data do.

Names of dimensions: n images, m candidates, d pixels.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib.pyplot as plt
import numpy as np
from image_run import Settings, by_first_layer, make_split, score, train
from plot_images import TITLES
from report import Clock, write_json
from study import fresh_folder, read_options, study_parser
from style import BLACK, GREY, curve, save_figure

import kkt_ref
from kkt_ref.attacks import refine
from kkt_ref.datasets.split import Split
from kkt_ref.stationarity.evaluation import evaluate

NO_RANGE = (-1e6, 1e6)  # a box that never binds
FIRST_ONLY = (1.0, 0.0, 0.0)  # layer weights: the loss of layer 1, as in the image demos
Array = np.ndarray


class Knowledge(NamedTuple):
    """What an attacker knows about the data."""

    mean: bool = False  # candidates start at the data's mean, which is the shift
    range: bool = False  # candidates stay within 1 of the shift
    wrong: bool = False  # the attacker believes that the shift is 0, and that the range is known

    def start_and_box(
        self, shift: float, shape: tuple[int, int], rng: np.random.Generator
    ) -> tuple[Array, tuple[float, float]]:
        """Candidates (m, d) to start from, and the box that they stay in."""
        box = (shift - 1, shift + 1) if self.range else (-1.0, 1.0) if self.wrong else NO_RANGE
        if self.range and not self.mean:
            return rng.uniform(*box, shape), box
        return (shift if self.mean else 0.0) + 0.1 * rng.normal(size=shape), box


KNOWLEDGE = {
    "mean and range known": Knowledge(mean=True, range=True),
    "mean known": Knowledge(mean=True),
    "range known": Knowledge(range=True),
    "nothing known": Knowledge(),
    "believes in a shift of 0": Knowledge(wrong=True),
}


def numbers(split: Split, candidates: Array) -> dict[str, float]:
    """One-to-one scores, beside the null; the NCC does not depend on the shift."""
    data, unseen = score(split, candidates)
    counts = {"good": data.ncc_08, "null_good": unseen.ncc_08}
    return {"top10": data.ncc_top10, "null_top10": unseen.ncc_top10, **counts}


def attack(
    net: kkt_ref.MLP, split: Split, knows: Knowledge, shift: float, iterations: int, seed: int
) -> list[dict[str, float]]:
    """Minimise (R) by L-BFGS; return the residual and the scores at every tenth iteration."""
    rng, m, rows = np.random.default_rng(seed), 2 * len(split.x), list[dict[str, float]]()
    x, box = knows.start_and_box(shift, (m, net.d), rng)
    y = np.where(np.arange(m) < m // 2, -1.0, 1.0)
    multipliers = rng.uniform(size=m)
    total = evaluate(net, x).gradient_sum((y * multipliers)[:, None])
    size = np.sqrt(sum(float(np.sum(g * g)) for g in total))
    multipliers *= np.linalg.norm(net.theta) / size  # as in the library's attack
    calls = 0

    def watch(stage: str, run: int, x: Array, multipliers: Array) -> None:
        nonlocal calls
        calls += 1
        if calls % 10 == 0 or calls == 1:
            norms = kkt_ref.kkt.stationarity_norms(net, x, y, multipliers)
            rows.append({"residual": norms.by_layer[0], **numbers(split, x)})

    gates = dict(alpha=net.activation.alpha, layer_weights=FIRST_ONLY)
    refine(net, x, y, multipliers, box=box, callback=watch, max_iterations=iterations, **gates)
    return rows


def draw(panels: list[dict[str, Any]], title: str, path: Path) -> None:
    """Draw a panel for each shift: the score of each attack by its loss."""
    size = dict(figsize=(5.2 * len(panels) + 0.4, 5.6), sharey=True, squeeze=False)
    figure, axes = plt.subplots(1, len(panels), layout="constrained", **size)
    for ax, panel in zip(axes[0], panels, strict=True):
        for name, rows in panel["attacks"].items():
            loss = [(row["residual"] / panel["floor"]) ** 2 for row in rows]
            style = curve(list(KNOWLEDGE).index(name)) | {"markevery": [-1], "markersize": 8}
            ax.plot(loss, [row["top10"] for row in rows], label=name, **style)
        ours = panel["ours"]
        ax.axhline(ours["top10"], color=BLACK, lw=1.2, label="our attack, nothing known")
        null = max(rows[-1]["null_top10"] for rows in panel["attacks"].values())
        null = max(null, ours["null_top10"])
        ax.axhline(null, color=GREY, ls=":", label="the best score on unseen images")
        ax.axvline(1.0, color=GREY, lw=1, label="the loss of the true data")
        ax.set(xscale="log", ylim=(0, 1.02), xlabel="loss / loss of the true data")
        ax.set_title(f"{title}, shift {panel['shift']:g}")
        ax.grid(True)
    axes[0, 0].set_ylabel("NCC, mean of the ten best")
    figure.legend(*axes[0, -1].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    save_figure(figure, path)


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Run the study and return its table."""
    parser = study_parser("prior", __doc__.split("\n")[0])
    parser.add_argument("--n", type=int, default=20, help="number of training images")
    parser.add_argument("--width", type=int, default=200, help="neurons in a hidden layer")
    parser.add_argument("--shifts", type=float, nargs="+", default=[0.0, 0.1, 0.5])
    parser.add_argument("--iterations", type=int, default=1000, help="L-BFGS iterations, at most")
    options, images, few = read_options(parser, arguments)
    n = min(options.n, 10) if few else options.n
    quick = (options.shifts[:2], 20) if options.quick else (options.shifts, options.iterations)
    clock, panels, split = Clock(), list[dict[str, Any]](), make_split(images, n)
    for shift in quick[0]:
        # 1. Train on the shifted images: towards a KKT point of the max-margin problem (P).
        settings = Settings(
            options.images, images.source, n, options.width, 3, options.seed, "prior"
        )
        folder = fresh_folder(options.out / f"{shift:g}", settings._asdict() | {"shift": shift})
        shifted = replace(split, x=split.x + shift)
        trained = train(shifted, settings, folder).result.net
        # 2. The loss (R) of the true data, with the best multipliers and the attack's gates.
        net = trained.astype(np.float64)
        net = net.with_activation(kkt_ref.GatedReLU(kkt_ref.attacks.gate_alpha(net, 0.25)))
        floor = kkt_ref.residual_floor(net, shifted.x, shifted.y, layer_weights=FIRST_ONLY)
        # 3. Our attack knows nothing about the data; it solves (S) in the first layer.
        found = by_first_layer(trained, settings, folder, 4 if few else options.restarts).found
        ours = numbers(split, found.candidates)
        panel = {"shift": shift, "floor": floor.by_layer[0], "ours": ours, "attacks": {}}
        panels.append(panel)
        print(f"\nshift {shift:g}: residual of layer 1 on the true data {panel['floor']:.3f}")
        print(f"{'':26} loss / true   ten best (unseen)  >= 0.8   ten best at the true loss")
        print(f"{'ours, nothing known':39} {text(ours)}")
        # 4. The attack by (R), with each kind of knowledge.
        for name, knows in KNOWLEDGE.items():
            if shift == 0.0 and not knows.mean and not knows.range:
                continue  # the mean is 0, so these are the same as the first two
            rows = attack(net, split, knows, shift, quick[1], options.seed)
            panel["attacks"][name] = rows
            ratio = (rows[-1]["residual"] / panel["floor"]) ** 2
            equal = next((row for row in rows if row["residual"] <= panel["floor"]), None)
            at_truth = f"{equal['top10']:.3f}" if equal else "not reached"
            print(f"{name:26} {ratio:12.2f} {text(rows[-1])}   {at_truth}", flush=True)
        draw(panels, TITLES[options.images], options.save)
    clock.say(f"picture: {options.save}")
    table = {"images": options.images, "n": n, "panels": panels, "seconds": clock.seconds}
    write_json(options.json, table)
    return table


def text(row: dict[str, float]) -> str:
    """The scores of a row."""
    return f"{row['top10']:8.3f} ({row['null_top10']:.3f}) {row['good']:6d} ({row['null_good']})"


if __name__ == "__main__":
    main()
