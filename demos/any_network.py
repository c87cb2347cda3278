r"""Recognise the training digits of a LeNet that PyTorch trained, from its gradients alone.

    pip install torch && python demos/any_network.py

The network is a convolutional one with biases and pooling, trained by Adam from PyTorch's default
start, so the theory promises nothing.  `adapter_torch.py` gives the library its outputs and
gradients.  Stationarity θ ≈ Σ_i λ_i g_i is fitted to the training digits and to digits that the
network never saw, together.  Training digits have larger multipliers λ_i, measured in their
standard deviations.  Scores of an untrained network are the null; the audit judges the trained one.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from common import Clock, demo_parser, draw_roc, read_images, roc_table, save_figure, write_json

from kkt_ref.attacks import multiplier_scores
from kkt_ref.audit import audit, judge
from kkt_ref.datasets.split import ten_class_split
from kkt_ref.metrics import roc

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
    n, steps, unseen = (min(options.n, 50), 200, 100) if options.quick else (options.n, 600, 700)
    order = np.random.default_rng(options.seed).permutation(len(images.labels))
    images = replace(images, images=images.images[order], labels=images.labels[order])
    clock, split = Clock(), ten_class_split(images, n, unseen=unseen)
    pixels = np.concatenate([split.x, split.unseen_x]) + split.mean  # in [0, 1]
    x = ((pixels - 0.13) / 0.31).astype(np.float32)  # constants know nothing of the data, (n, d)
    pictures, y = x.reshape(-1, *split.shape), np.concatenate([split.y, split.unseen_y])
    model = lenet(split.shape, options.seed)
    found, table = [], {"images": options.images, "n": n, "seed": options.seed}
    for name, number in (("untrained", 0), ("trained", steps)):
        loss = train(model, pictures[:n], y[:n], number) if number else None
        net = TorchNetwork(model.eval(), split.shape)
        scores = multiplier_scores(net, x, y)._asdict()
        found.append({NAMES[key]: (values[:n], values[n:]) for key, values in scores.items()})
        clock.say(f"{name}, P = {net.theta.size}" + (f", loss {loss:.1g}" if number else ""))
        table[name] = {}
        for key, label in NAMES.items():
            result = roc(*found[-1][label])
            rate = "-" if result.tpr001 is None else f"{result.tpr001:.2f}"
            print(f"  {label:18s} AUC {result.auc:.3f}  TPR at 1% {rate}  p {result.p_all:.1g}")
            table[name][key] = roc_table(result)
    clock.say("the audit, which compares with weights in random order too")
    audited = audit(net, (x[:n], y[:n]), (x[n:], y[n:]))
    verdicts, floor = judge(audited), audited.data.conditions["floor"]
    for name, verdict in verdicts.items():
        print(f"  {name.capitalize()}: {verdict.text}")
    clock.say(f"the training images explain all but {floor:.2f} of θ (the floor)")
    figure, axes = plt.subplots(figsize=(7.2, 6.2), layout="constrained")
    draw_roc(axes, found[1], found[0], "all three, untrained network")
    axes.set_title(f"LeNet on {n} images, beside {len(y) - n} that it never saw")
    figure.legend(loc="outside lower center", ncols=2)
    save_figure(figure, options.save)
    clock.say(f"figure: {options.save}")
    table["verdicts"] = {name: verdict.degree for name, verdict in verdicts.items()}
    write_json(options.json, table | {"floor": floor, "seconds": clock.seconds})
    return table


if __name__ == "__main__":
    main()
