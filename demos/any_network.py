r"""Recognise the training digits of a LeNet that PyTorch trained, from its gradients alone.

    pip install torch && python demos/any_network.py

The network is a convolutional one with biases and pooling, trained by Adam from PyTorch's default
start, so the theory promises nothing.  `adapter_torch.py` gives the library its outputs and
gradients.  Stationarity θ ≈ Σ_i λ_i g_i is fitted to the training digits and to digits that the
network never saw, together.  Training digits have larger multipliers λ_i, measured in their
standard deviations.  The same scores of a network that was not trained are the null.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from common import GREY, Clock, curve, demo_parser, read_images, save_figure, write_json

import kkt_ref
from kkt_ref.attacks import multiplier_scores
from kkt_ref.datasets.split import Split, ten_class_split
from kkt_ref.metrics import roc, roc_curve
from kkt_ref.stationarity import RunnerUp

NAMES = {"score": "both", "multiplier": "λ, the multiplier", "margin": "the loss"}


def lenet(shape: tuple[int, int, int], seed: int) -> Any:
    """LeNet-5 for images of this shape, with ReLU and max pooling."""
    from torch import manual_seed, nn

    manual_seed(seed)
    side = ((shape[1] - 4) // 2 - 4) // 2
    return nn.Sequential(
        *(nn.Conv2d(shape[0], 16, 5), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(16, 32, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()),
        *(nn.Linear(32 * side**2, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU()),
        nn.Linear(84, 10),
    )


def train(model: Any, x: np.ndarray, y: np.ndarray, steps: int) -> float:
    """Train by Adam on all images at once, and return the loss."""
    from torch import nn, optim, tensor

    images, labels = tensor(x), tensor(y)
    optimizer = optim.Adam(model.parameters(), 1e-3)
    for _ in range(steps):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(images), labels)
        loss.backward()
        optimizer.step()
    return float(loss.detach())


def samples(split: Split) -> tuple[np.ndarray, np.ndarray]:
    """Training images and unseen ones (n, C, H, W), scaled by constants that know neither."""
    x = np.concatenate([split.x, split.unseen_x]) + split.mean  # pixels in [0, 1]
    x = ((x - 0.13) / 0.31).reshape(-1, *split.shape).astype(np.float32)
    return x, np.concatenate([split.y, split.unseen_y])


def draw(
    scores: dict[str, tuple[np.ndarray, ...]], null: dict[str, Any], title: str, path: Path
) -> None:
    """Draw the ROC curves of the trained network, and those of the untrained one in grey."""
    figure, axes = plt.subplots(figsize=(7.2, 6.2), layout="constrained")
    least = 0.5 / len(scores["score"][1])
    for number, (name, label) in enumerate(NAMES.items()):
        style = curve(number) | {"marker": ""}
        for values, colour in ((null[name], {"color": GREY, "lw": 1.0}), (scores[name], {})):
            fpr, tpr = roc_curve(*values)
            what = {} if colour else {"label": label, "lw": 2.4}
            axes.step(np.maximum(fpr, least), tpr, where="post", **style | colour | what)
    axes.plot([], [], color=GREY, lw=1.0, label="the same, untrained network")
    line = np.geomspace(least, 1, 50)
    axes.plot(line, line, color=GREY, lw=0.8, ls=":", label="chance")
    axes.set(xscale="log", yscale="log", xlim=(least, 1.05), ylim=(2 * least, 1.2), title=title)
    axes.set(xlabel="false positive rate (unseen images)", ylabel="true positive rate (training)")
    axes.legend(loc="lower right")
    axes.grid(True)
    save_figure(figure, path)


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Run the demo and return its table."""
    parser = demo_parser("any_network", __doc__, images=True)
    parser.add_argument("--n", type=int, default=100, help="number of training images")
    options = parser.parse_args(arguments)
    try:
        from adapter_torch import TorchNetwork
    except ImportError:
        sys.exit("this demo needs PyTorch: pip install torch")
    images, few = read_images(parser, options.images)
    if few:
        parser.error("--images cifar10: expected the official files, see default_images")
    n = min(options.n, 50) if options.quick else options.n
    steps, unseen = (200, 100) if options.quick else (600, 700)
    order = np.random.default_rng(options.seed).permutation(len(images.labels))
    images = replace(images, images=images.images[order], labels=images.labels[order])
    clock, split = Clock(), ten_class_split(images, n, unseen=unseen)
    pictures, y = samples(split)
    x = pictures.reshape(len(y), -1)
    model = lenet(split.shape, options.seed)
    found, table = [], {"images": options.images, "n": n, "seed": options.seed}
    for name, number in (("untrained", 0), ("trained", steps)):
        loss = train(model, pictures[:n], y[:n], number) if number else None
        net = TorchNetwork(model.eval(), split.shape)
        scores = multiplier_scores(net, x, y)._asdict()
        found.append({key: (values[:n], values[n:]) for key, values in scores.items()})
        clock.say(f"{name}, P = {net.theta.size}" + (f", loss {loss:.1g}" if number else ""))
        table[name] = {}
        for key, label in NAMES.items():
            result = roc(*found[-1][key])
            rate = "-" if result.tpr001 is None else f"{result.tpr001:.2f}"
            print(f"  {label:18s} AUC {result.auc:.3f}  TPR at 1% {rate}  p {result.p_all:.1g}")
            row = result._asdict()
            del row["p_values"]
            table[name][key] = row
    floor = kkt_ref.residual_floor(net, x[:n], y[:n], problem=RunnerUp())
    clock.say(f"the training images explain all but {floor.relative:.2f} of θ (the floor)")
    title = f"LeNet on {n} images, beside {len(y) - n} that it never saw"
    draw(found[1], found[0], title, options.save)
    clock.say(f"figure: {options.save}")
    write_json(options.json, table | {"floor": floor.relative, "seconds": clock.seconds})
    return table


if __name__ == "__main__":
    main()
