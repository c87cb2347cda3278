"""Where the network bends: training points lie on the kinks of the first layer.

    python demos/kinks.py

Left: the kinks of the toy's first layer are lines, and five or more of them meet at each
training point and nowhere else in the band of the margin.  Right: on images, how many of
the first layer's kinks pass through a training image, and through an unseen one.
"""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from image_run import Settings, make_split, train
from report import Clock, write_json
from scipy.stats import mannwhitneyu
from study import read_options, study_parser
from style import save_figure

import kkt_ref
from kkt_ref._io import claim, forget
from kkt_ref.attacks.kinks import kink_vertices, kinks_at
from kkt_ref.datasets.toys import paper_circle

LINES = 5


def draw_toy(ax: plt.Axes, net: kkt_ref.MLP, x: np.ndarray, vertices: np.ndarray) -> None:
    """The kinks, the points where many meet, and the training points."""
    for (w_1, w_2), b in zip(net.weights[0], net.biases[0], strict=True):
        normal, offset = np.array([w_1, w_2]), -b / (w_1**2 + w_2**2)
        ax.axline(offset * normal, offset * normal + (-w_2, w_1), lw=0.3, color="0.6")
    ax.plot(*x.T, "o", mfc="none", mec="black", ms=11, label="training points")
    ax.plot(*vertices.T, ".", color="tab:red", ms=6, label=f"{LINES} kinks or more meet")
    ax.set(xlim=(-1.3, 1.3), ylim=(-1.3, 1.5), aspect="equal", xticks=[], yticks=[])
    ax.legend(loc="upper center", ncols=2, fontsize=8)


def draw_counts(ax: plt.Axes, seen: np.ndarray, unseen: np.ndarray) -> None:
    """Sorted counts of the training images and of the unseen ones."""
    share = (np.arange(len(seen)) + 0.5) / len(seen)
    for counts, name, colour in ((seen, "training", "tab:red"), (unseen, "unseen", "tab:blue")):
        ax.plot(share, np.sort(counts)[::-1], ".-", ms=4, color=colour, label=f"{name} images")
    ax.set_yscale("symlog", linthresh=1)
    ax.set(xlabel="share of images", ylabel="kinks of the first layer through the image")
    ax.legend()


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Run the demo and return its table."""
    parser = study_parser("kinks", __doc__.split("\n")[0], attack=False)
    options, images, few = read_options(parser, arguments)
    clock = Clock()
    x, y = paper_circle()
    width, target = (100, 1e-6) if options.quick else (300, 1e-16)
    start = kkt_ref.init_paper((2, width, 1), np.random.default_rng(options.seed), first_layer=0.3)
    toy = kkt_ref.loss_scaled_descent(start, x, y, rate=10.0, target_loss=target).net
    vertices, _ = kink_vertices(toy, lines=LINES)
    match = kkt_ref.match_points(x, vertices, tolerance=0.005)
    clock.say(
        f"toy: {LINES} kinks or more meet at {len(vertices)} points; "
        f"{match.matched} of 20 training points are within 0.005 of one"
    )

    n = 10 if few else 100
    settings = Settings(
        options.images, images.source, n, 200 if options.quick else 1000, 3, options.seed, "kinks"
    )
    forget(options.out)
    split = make_split(images, n)
    net = train(split, settings, claim(options.out, settings._asdict())).result.net
    net = net.astype(np.float64)
    seen, unseen = kinks_at(net, split.x), kinks_at(net, split.unseen_x)
    told_apart = float(mannwhitneyu(seen, unseen).statistic / (len(seen) * len(unseen)))
    clock.say(
        f"{options.images}, n = {n}: kinks through a training image, mean {seen.mean():.1f}, "
        f"most {seen.max()}; unseen {unseen.mean():.1f}, most {unseen.max()}"
    )
    print(f"a training image has more kinks than an unseen one with probability {told_apart:.2f}")

    figure, axes = plt.subplots(1, 2, figsize=(10, 4.6), layout="constrained")
    draw_toy(axes[0], toy, x, vertices)
    draw_counts(axes[1], seen, unseen)
    save_figure(figure, options.save)
    clock.say(f"figure: {options.save}")
    table = {
        "seed": options.seed,
        "vertices": len(vertices),
        "matched_005": match.matched,
        "mean_training": float(seen.mean()),
        "mean_unseen": float(unseen.mean()),
        "training_above_all_unseen": float(np.mean(seen > unseen.max())),
        "auc": told_apart,
        "seconds": clock.seconds,
    }
    write_json(options.json, table)
    return table


if __name__ == "__main__":
    main()
