"""A mixture of pictures has more edges than a picture: the reason for the attack in one figure.

    python demos/edges.py

The attack on images looks for mixtures of the leading directions of layer 1 whose neighbouring
pixels differ at few places.  The figure shows why these are the training images.
"""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from common import BLUE, GREY, VERMILLION, demo_parser, read_images, save_figure, write_json
from scipy.stats import kurtosis, norm, skew

MIXED = 8


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Draw the figure and return its numbers."""
    parser = demo_parser("edges", __doc__, images=True)
    options = parser.parse_args(arguments)
    images, _ = read_images(parser, options.images)
    rng = np.random.default_rng(options.seed)
    chosen = images.images[rng.choice(len(images.images), MIXED, replace=False)] / 255.0
    pictures = chosen.mean(axis=1)  # grey, (MIXED, H, W)
    mixture = np.tensordot(rng.normal(size=MIXED), pictures, 1)  # (H, W)
    mixture *= np.sign(skew(mixture, axis=None))  # bright on dark ground, as a picture
    figure, axes = plt.subplots(2, 3, figsize=(12.5, 6.8), layout="constrained")
    table: dict[str, Any] = {"images": options.images, "seed": options.seed}
    kinds = (("one picture", pictures[0], BLUE), (f"a mixture of {MIXED}", mixture, VERMILLION))
    for row, (name, picture, colour) in zip(axes, kinds, strict=True):
        across, down = np.diff(picture, axis=1)[:-1], np.diff(picture, axis=0)[:, :-1]
        differences = np.concatenate([across.ravel(), down.ravel()])
        differences /= np.sqrt(np.mean(differences**2))
        flat = float(np.mean(np.abs(differences) < 0.1))
        row[0].imshow(picture, cmap="gray")
        row[0].set_title(name)
        row[1].imshow(np.hypot(across, down), cmap="gray_r")  # (H - 1, W - 1)
        row[1].set_title("its differences")
        row[2].hist(differences, np.linspace(-6.15, 6.15, 42), density=True, color=colour)
        x = np.linspace(-6, 6, 200)
        row[2].plot(x, norm.pdf(x), color=GREY, ls="--", label="normal distribution")
        row[2].set_title(f"{flat:.0%} of them are nearly zero")
        row[2].set(yscale="log", ylim=(1e-3, 10), xlabel="difference, in standard deviations")
        for ax in row[:2]:
            ax.set_axis_off()
        table[name] = {"nearly_zero": flat, "kurtosis": float(kurtosis(differences))}
        print(f"{name:16} nearly zero {flat:4.0%}, kurtosis {table[name]['kurtosis']:5.1f}")
    axes[0, 2].legend(loc="upper right")
    save_figure(figure, options.save)
    write_json(options.json, table)
    return table


if __name__ == "__main__":
    main()
