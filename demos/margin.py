"""The margin figure: which samples come back, by their distance from the margin.

    python demos/margin.py

trains a network for each n and width, attacks each, and plots every training image:
x its distance from the margin, y the NCC of the candidate most like it.  Complementary
slackness gives multipliers to samples on the margin only, so these should come back best.
The dashed line is chance: what one in twenty of the unseen images reaches.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from image_run import Settings, by_first_layer, make_split, train
from report import Clock, write_json
from scipy.stats import spearmanr
from study import fresh_folder, read_options, study_parser
from style import save_figure

import kkt_ref
from kkt_ref.metrics.ncc import ncc_all_pairs


def panel(images: Any, settings: Settings, folder: Path, restarts: int) -> dict[str, Any]:
    """One network: distances from the margin, best scores, and their correlation."""
    fresh_folder(folder, settings._asdict())
    # 1. Train and attack, as the image demos do (P), (S).
    split = make_split(images, settings.n)
    net = train(split, settings, folder).result.net
    found = by_first_layer(net, settings, folder, restarts).result
    # 2. Complementary slackness: λ_i = 0 where y_i Φ(x_i) is not the smallest margin q.
    margins = kkt_ref.margins(net.astype(np.float64), split.x, split.y)  # (n,)
    distance = margins / margins.min() - 1.0
    # 3. Does the score follow it?  Unseen images say what chance reaches.
    score = ncc_all_pairs(split.x, found.candidates).max(axis=1)  # (n,)
    null = ncc_all_pairs(split.unseen_x, found.candidates).max(axis=1)
    return {
        "n": settings.n,
        "width": settings.width,
        "distance": distance.tolist(),
        "score": score.tolist(),
        "null_95": float(np.quantile(null, 0.95)),
        "above_null": int(np.sum(score > np.quantile(null, 0.95))),
        "ncc_08": int(np.sum(score >= 0.8)),
        "spearman": float(spearmanr(distance, score).statistic),
        "folder": str(folder),
    }


def draw(panels: list[dict[str, Any]], ns: list[int], widths: list[int], path: Path) -> None:
    """A panel for each network, n down, width across."""
    figure, axes = plt.subplots(
        len(ns),
        len(widths),
        figsize=(3.2 * len(widths), 2.5 * len(ns)),
        sharex=True,
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    for result in panels:
        ax = axes[ns.index(result["n"]), widths.index(result["width"])]
        ax.scatter(result["distance"], result["score"], s=9, color="#2456a4", alpha=0.6, lw=0)
        ax.axhline(result["null_95"], color="#c0392b", lw=1, ls="--")
        ax.set_title(
            f"n = {result['n']}, width {result['width']}: ρ = {result['spearman']:.2f}, "
            f"{result['ncc_08']} at ≥ 0.8",
            fontsize=9,
        )
        ax.set_ylim(0, 1.02)
    for ax in axes[-1]:
        ax.set_xlabel("distance from the margin, yΦ(x) / q − 1")
    for ax in axes[:, 0]:
        ax.set_ylabel("best NCC")
    save_figure(figure, path)


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Run the demo and return its table."""
    parser = study_parser("margin", __doc__.split("\n")[0])
    parser.add_argument("--n", type=int, nargs="+", help="numbers of training images")
    parser.add_argument("--widths", type=int, nargs="+", help="numbers of neurons")
    options, images, few = read_options(parser, arguments)
    clock = Clock()
    ns = options.n or ([6, 10] if few else [50, 100, 200])
    widths = options.widths or ([100, 200] if options.quick else [250, 500, 1000])
    restarts = 4 if options.quick else options.restarts

    panels = []
    for n in ns:
        for width in widths:
            clock.say(f"n = {n}, width {width}")
            settings = Settings(
                options.images, images.source, n, width, 3, options.seed, "first-layer"
            )
            panels.append(panel(images, settings, options.out / f"{n}_{width}", restarts))
            draw(panels, ns, widths, options.save)
    print("\n    n  width  correlation of distance and score  above null  NCC >= 0.8")
    for result in panels:
        print(
            f"{result['n']:5d}  {result['width']:5d}  {result['spearman']:33.2f}  "
            f"{result['above_null']:10d}  {result['ncc_08']:10d}"
        )
    everything = spearmanr(
        np.concatenate([result["distance"] for result in panels]),
        np.concatenate([result["score"] for result in panels]),
    ).statistic
    print(f"Spearman's correlation over all panels {everything:.2f}")
    clock.say(f"figure: {options.save}")
    table = {"panels": panels, "spearman": float(everything), "seconds": clock.seconds}
    write_json(options.json, table)
    return table


if __name__ == "__main__":
    main()
