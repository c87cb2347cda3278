"""See which training images are reconstructed: those near the margin.

    python demos/margin.py
    python demos/margin.py --images cifar10 --score ncc ssim

For each number of images n and each width, the demo trains a network, attacks it, and draws one
dot for every training image: its distance from the margin, and the score of the candidate that
has the largest NCC with it.  The score is this NCC, or, as in the paper, the SSIM.  By
complementary slackness only samples on the margin have a multiplier above zero, so these should
be reconstructed best.  The dashed line shows what chance reaches: 95% of the images that the
network never saw have a score below it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from common import BLUE, VERMILLION, Clock, demo_parser, read_images, save_figure, write_json
from images import ATTACKS, Attack, Victim, make_split, train
from scipy.stats import spearmanr

import kkt_ref
from kkt_ref.datasets.split import Split
from kkt_ref.metrics import HAIM, ncc_all_pairs, stretch, structural_similarity

GOOD = {"ncc": 0.8, "ssim": 0.4}  # a score from which an image counts as reconstructed


def best_scores(images: np.ndarray, candidates: np.ndarray, split: Split) -> dict[str, Any]:
    """The best NCC of each image, and the SSIM of the same candidate, both of shape (n,)."""
    pairs = ncc_all_pairs(images, candidates)  # (n, m)
    shown = stretch(candidates[pairs.argmax(axis=1)] + split.mean)  # (n, d)
    true = images + split.mean
    both = (pixels.reshape(-1, *split.shape) for pixels in (shown, true))
    ssim = structural_similarity(*both, data_range=1.0, channel_axis=1, settings=HAIM)
    return {"ncc": pairs.max(axis=1), "ssim": ssim}


def panel(images: Any, victim: Victim, attack: Attack, seed: int) -> dict[str, Any]:
    """Train and attack one network: margins, best scores, and their correlation."""
    # 1. Train (P) and attack, as the image demos do.
    split = make_split(images, victim)
    net = train(victim, split, seed)
    found = attack(net, split, seed)
    # 2. Complementary slackness: λ_i = 0 where y_i Φ(x_i) is not the smallest margin q.
    margins = kkt_ref.margins(net.astype(np.float64), split.x, split.y)  # (n,)
    distance = margins / margins.min() - 1.0
    # 3. Do the scores depend on the distance?  Unseen images show what chance reaches.
    seen, unseen = (best_scores(x, found.candidates, split) for x in (split.x, split.unseen_x))
    table: dict[str, Any] = {"n": victim.n, "width": victim.width}
    table["distance"] = distance.tolist()
    for name, score in seen.items():
        chance = np.quantile(unseen[name], 0.95)
        table[name] = {
            "score": score.tolist(),
            "null_95": float(chance),
            "above_null": int(np.sum(score > chance)),
            "good": int(np.sum(score >= GOOD[name])),
            "null_good": int(np.sum(unseen[name] >= GOOD[name])),
            "spearman": float(spearmanr(distance, score).statistic),
        }
    return table


def draw(
    panels: list[dict[str, Any]], ns: list[int], widths: list[int], score: str, path: Path
) -> None:
    """Draw a panel for each network, one row for each n, one column for each width."""
    name = score.upper()
    figure, axes = plt.subplots(
        len(ns),
        len(widths),
        figsize=(max(3.4 * len(widths), 5.0), 2.7 * len(ns) + 0.4),
        sharex=True,
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    for result in panels:
        ax = axes[ns.index(result["n"]), widths.index(result["width"])]
        dots = ax.scatter(
            result["distance"], result[score]["score"], s=10, color=BLUE, alpha=0.7, lw=0
        )
        chance = ax.axhline(result[score]["null_95"], color=VERMILLION, ls="--")
        dots.set_label("a training image")
        chance.set_label("95% of the unseen images are below this line")
        ax.set_title(
            f"n = {result['n']}, width {result['width']}: {result[score]['good']} with "
            f"{name} ≥ {GOOD[score]}\ncorrelation {result[score]['spearman']:.2f}",
            fontsize=10,
        )
        ax.set_ylim(-0.1 if score == "ssim" else 0, 1.02)
        ax.tick_params(labelsize=10)
        ax.grid(True)
    for ax in axes[-1]:
        ax.set_xlabel("distance from the margin, yΦ(x) / q − 1", fontsize=10)
    for ax in axes[:, 0]:
        ax.set_ylabel(
            "best NCC of a candidate" if score == "ncc" else "SSIM of the candidate", fontsize=10
        )
    figure.legend(handles=[dots, chance], loc="outside lower center", ncols=min(2, len(widths)))
    save_figure(figure, path)


def picture(path: Path, score: str, drawn: list[str]) -> Path:
    """The file of a score's picture."""
    return path if score == drawn[0] else path.with_stem(f"{path.stem}_{score}")


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Run the demo and return its table."""
    parser = demo_parser("margin", __doc__, images=True)
    parser.add_argument("--attack", choices=tuple(ATTACKS), default="components", help="which one")
    parser.add_argument("--n", type=int, nargs="+", help="training images, one or more numbers")
    parser.add_argument(
        "--widths", type=int, nargs="+", help="neurons in a hidden layer, one or more numbers"
    )
    parser.add_argument(
        "--score",
        nargs="+",
        choices=tuple(GOOD),
        default=["ncc"],
        help="what to draw; a second picture gets the score's name at the end of its own",
    )
    options = parser.parse_args(arguments)
    images, few = read_images(parser, options.images)
    clock = Clock()
    ns = options.n or ([6, 10] if few or options.quick else [50, 100])
    widths = options.widths or ([100, 200] if options.quick else [500, 1000])

    panels = []
    for n in ns:
        for width in widths:
            clock.say(f"n = {n}, width {width}")
            victim = Victim(n=n, width=width)
            panels.append(panel(images, victim, ATTACKS[options.attack], options.seed))
            for score in options.score:
                draw(panels, ns, widths, score, picture(options.save, score, options.score))
    print("\n    n  width  score  correlation  above chance  good (unseen)")
    for result in panels:
        for score in GOOD:
            line = result[score]
            print(
                f"{result['n']:5d}  {result['width']:5d}  {score.upper():>5}  "
                f"{line['spearman']:11.2f}  {line['above_null']:12d}  "
                f"{line['good']:4d} ({line['null_good']})"
            )
    print("Correlation: Spearman's, of the distance from the margin and the score.")
    print("Good: NCC >= 0.8 or SSIM >= 0.4.")
    clock.say(f"picture: {options.save}")
    table = {"attack": options.attack, "panels": panels, "seconds": clock.seconds}
    write_json(options.json, table)
    return table


if __name__ == "__main__":
    main()
