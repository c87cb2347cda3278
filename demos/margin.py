"""See which training images are reconstructed: those near the margin.

    python demos/margin.py

For each number of images n and each width, the demo trains a network, attacks it, and draws one
dot for every training image: its distance from the margin, and the NCC of the candidate that is
most like it.  By complementary slackness only samples on the margin have a multiplier above
zero, so these should be reconstructed best.  The dashed line shows what chance reaches: 95% of
the images that the network never saw have a best NCC below it.
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
from style import BLUE, VERMILLION, save_figure

import kkt_ref
from kkt_ref.metrics.ncc import ncc_all_pairs


def panel(images: Any, settings: Settings, folder: Path, restarts: int) -> dict[str, Any]:
    """Train and attack one network: margins, best scores, and their correlation."""
    fresh_folder(folder, settings._asdict())
    # 1. Train (P) and attack (S), as the image demos do.
    split = make_split(images, settings.n)
    net = train(split, settings, folder).result.net
    found = by_first_layer(net, settings, folder, restarts).found
    # 2. Complementary slackness: λ_i = 0 where y_i Φ(x_i) is not the smallest margin q.
    margins = kkt_ref.margins(net.astype(np.float64), split.x, split.y)  # (n,)
    distance = margins / margins.min() - 1.0
    # 3. Does the score depend on the distance?  Unseen images show what chance reaches.
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
    """Draw a panel for each network, one row for each n, one column for each width."""
    figure, axes = plt.subplots(
        len(ns),
        len(widths),
        figsize=(3.4 * len(widths), 2.7 * len(ns) + 0.4),
        sharex=True,
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    for result in panels:
        ax = axes[ns.index(result["n"]), widths.index(result["width"])]
        dots = ax.scatter(result["distance"], result["score"], s=10, color=BLUE, alpha=0.7, lw=0)
        chance = ax.axhline(result["null_95"], color=VERMILLION, ls="--")
        dots.set_label("a training image")
        chance.set_label("95% of the unseen images are below this line")
        ax.set_title(
            f"n = {result['n']}, width {result['width']}: {result['ncc_08']} with NCC ≥ 0.8\n"
            f"correlation {result['spearman']:.2f}",
            fontsize=10,
        )
        ax.set_ylim(0, 1.02)
        ax.tick_params(labelsize=10)
        ax.grid(True)
    for ax in axes[-1]:
        ax.set_xlabel("distance from the margin, yΦ(x) / q − 1", fontsize=10)
    for ax in axes[:, 0]:
        ax.set_ylabel("best NCC of a candidate", fontsize=10)
    figure.legend(handles=[dots, chance], loc="outside lower center", ncols=2)
    save_figure(figure, path)


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Run the demo and return its table."""
    parser = study_parser("margin", __doc__.split("\n")[0])
    parser.add_argument("--n", type=int, nargs="+", help="training images, one or more numbers")
    parser.add_argument(
        "--widths", type=int, nargs="+", help="neurons in a hidden layer, one or more numbers"
    )
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
    print("\n    n  width  correlation  above chance  NCC >= 0.8")
    for result in panels:
        print(
            f"{result['n']:5d}  {result['width']:5d}  {result['spearman']:11.2f}  "
            f"{result['above_null']:12d}  {result['ncc_08']:10d}"
        )
    print("Correlation: Spearman's, of the distance from the margin and the best NCC.")
    everything = spearmanr(
        np.concatenate([result["distance"] for result in panels]),
        np.concatenate([result["score"] for result in panels]),
    ).statistic
    print(f"Correlation over all networks together: {everything:.2f}")
    clock.say(f"picture: {options.save}")
    table = {"panels": panels, "spearman": float(everything), "seconds": clock.seconds}
    write_json(options.json, table)
    return table


if __name__ == "__main__":
    main()
