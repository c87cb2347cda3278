"""Digits from the first layer alone, for an attacker who knows the mean and the black background.

    python demos/background.py

What an attacker knows of the images can help more than the equation of stationarity.  Training
leaves W₁ = Σ a_i x_iᵀ and b₁ = Σ a_i, up to their start, and x_i is a digit minus the mean of all
digits.  So the rows of

    W₁ + b₁ meanᵀ = Σ_i a_i digit_iᵀ

lie in the span of the digits themselves.  A digit is never negative and mostly black, and few other
vectors of this span are.  The attack starts from rows and repeats two projections: onto the leading
directions of the span, and onto vectors without entries below 5% of the largest.  It uses neither
labels, nor multipliers, nor any layer but the first.  Colour photographs have no black background,
so there it finds nothing; see ``--images cifar10``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from image_run import Settings, make_split, score, train
from plot_images import TITLES, draw, headline
from report import Clock, write_json
from study import fresh_folder, read_options, study_parser

import kkt_ref
from kkt_ref.attacks.pooling import distinct

DARK = 0.05  # of the largest pixel; what is below counts as background
TURNS = 300
Array = np.ndarray


def sparse_images(
    net: kkt_ref.MLP, mean: Array, directions: int, starts: int, rng: np.random.Generator
) -> tuple[Array, Array]:
    """Return images, (m, d) with m ≤ 2 starts, and how far each is from the span, (m,).

    A start is a row of W₁ + b₁ meanᵀ within its ``directions`` leading ones, or its negative.
    """
    W, b = (array.astype(np.float64) for array in net.layers[0])
    U, _, Vt = np.linalg.svd(W + np.outer(b, mean), full_matrices=False)
    V = Vt[:directions].astype(np.float32)  # (k, d)
    rows = U[rng.choice(len(U), starts, replace=starts > len(U)), :directions] @ V  # (starts, d)
    images = _sparse(np.concatenate([rows, -rows]))  # (2 starts, d)
    for _ in range(TURNS):
        images = _sparse((images @ V.T) @ V)
    images = images[np.sum(images > 0, axis=1) > 3].astype(np.float64)  # else single pixels
    inside = (images @ V.T) @ V
    return images, np.linalg.norm(images - inside, axis=1) / np.linalg.norm(images, axis=1)


def _sparse(images: Array) -> Array:
    """Scale images (m, d) to a largest pixel of 1, and make dark pixels black."""
    scaled = images / np.maximum(images.max(axis=1, keepdims=True), 1e-12)
    return np.where(scaled > DARK, scaled, 0.0)


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Run the demo and return its table."""
    parser = study_parser("background", __doc__.split("\n")[0], attack=False)
    add = parser.add_argument
    add("--n", type=int, default=100, help="number of training images")
    add("--directions", type=int, default=80, help="of the span; at most the number of images")
    add("--starts", type=int, default=500, help="rows of layer 1 to start from")
    options, images, few = read_options(parser, arguments)
    n = 10 if few else options.n
    width = 200 if options.quick else 1000
    clock, split = Clock(), make_split(images, n)
    settings = Settings(options.images, images.source, n, width, 3, options.seed, "background")
    # 1. Train as the other image demos do.
    net = train(split, settings, fresh_folder(options.out, settings._asdict())).result.net
    # 2. Attack: images in the span of the rows that have a black background.
    begin, rng = clock.seconds, np.random.default_rng(options.seed)
    directions = min(options.directions, n)
    found, distance = sparse_images(net, split.mean, directions, options.starts, rng)
    candidates = found[np.argsort(distance)] - split.mean
    seconds = clock.seconds - begin
    # 3. Judge, beside chance.
    scored = score(split, candidates)
    what = f"{TITLES[options.images]}, mean and background known"
    title = headline(what, n, scored.data.ncc_08, scored.unseen.ncc_08)
    clock.say(title)
    draw(split, candidates, distinct(candidates), title, options.save)
    clock.say(f"figure: {options.save}")
    table = {
        "images": options.images,
        "n": n,
        "seed": options.seed,
        "directions": directions,
        "candidates": len(candidates),
        "data": scored.data._asdict(),
        "unseen": scored.unseen._asdict(),
        "seconds_attack": seconds,
        "seconds": clock.seconds,
    }
    write_json(options.json, table)
    return table


if __name__ == "__main__":
    main()
