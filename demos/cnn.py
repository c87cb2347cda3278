"""Reconstruct training images from the weights of a convolutional network.

    python demos/cnn.py

The demo trains a CNN on 20 digits by gradient descent, measures the four KKT conditions, and then
reconstructs digits from the weights alone: stationarity says that the rows of the first dense layer
lie in the span of the training images' features, features are sparse, and an image can be computed
from its features.  As always, the same candidates are compared with digits that it never saw.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from image_run import score
from plot_images import draw, headline
from report import Clock, write_json
from study import read_options, study_parser

import kkt_ref
from kkt_ref.attacks.features import reconstruct_features
from kkt_ref.datasets.split import binary_split


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Run the demo and return its table."""
    parser = study_parser("cnn", __doc__.split("\n")[0], attack=False)
    parser.add_argument("--n", type=int, default=20, help="number of training images")
    parser.add_argument("--channels", type=int, default=128, help="of the convolution")
    parser.add_argument("--starts", type=int, default=40, help="linear programs of the attack")
    options, images, _ = read_options(parser, arguments)
    n, channels, starts = options.n, options.channels, options.starts
    if options.quick:
        n, channels, starts = min(n, 6), 32, 8
    clock, split = Clock(), binary_split(images, n, unseen=n)
    # 1. Train: the first dense layer starts small, so that it forgets its start.
    rng = np.random.default_rng(options.seed)
    side = 7 if options.images == "mnist" else 5
    start = kkt_ref.network.init_cnn(split.shape, [(channels, side, 3, 1)], [200, 1], rng)
    first, bias, dense, last = start.astype(np.float32).arrays
    start = start.with_arrays([first, bias, np.float32(1e-4) * dense, last])
    trained = kkt_ref.loss_scaled_descent(
        start,
        split.x.astype(np.float32),
        split.y,
        rate=5.0,
        target_loss=4e-6,
        record_every=20,
        callback=lambda record, net: clock.say(
            f"step {record.step}, log10 loss {record.log_loss / np.log(10):.1f}"
        ),
    )
    clock.say(f"training: {trained.stop_reason}")
    # 2. How near is it to a KKT point?  The floor is the residual that no attack goes below.
    report = kkt_ref.kkt_report(trained.net.astype(np.float64), split.x, split.y)
    print(report)
    # 3. Attack the weights alone.
    begin = clock.seconds
    candidates = reconstruct_features(trained.net, starts=starts, seed=options.seed)
    seconds = clock.seconds - begin
    # 4. Judge, beside chance.
    scored = score(split, candidates)
    title = headline("A CNN", n, scored.data.ncc_08, scored.unseen.ncc_08)
    clock.say(title)
    draw(split, candidates, candidates, title, options.save)
    clock.say(f"figure: {options.save}")
    table = {
        "n": n,
        "channels": channels,
        "seed": options.seed,
        "floor": report.stationarity.relative,
        "floor_by_layer": report.stationarity.by_layer,
        "data": scored.data._asdict(),
        "unseen": scored.unseen._asdict(),
        "seconds_attack": seconds,
        "seconds": clock.seconds,
    }
    write_json(options.json, table)
    return table


if __name__ == "__main__":
    main()
