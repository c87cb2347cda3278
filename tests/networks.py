"""Trained networks that several modules test on."""

import functools

import numpy as np

import kkt_ref
from kkt_ref.datasets import binary_split, embedded_images, toys
from kkt_ref.stationarity.evaluation import evaluate


def gradient_matrix(net, x):
    """∇θΦ(x_i), summed over the outputs, as rows (n, P), by the closed form."""
    return evaluate(net, x).gradient_rows(np.ones((len(x), net.K), net.dtype))


def state_dict(net, names=None):
    """What PyTorch's state_dict gives for nn.Sequential(nn.Linear, nn.ReLU, ...), as arrays."""
    names = names or [str(2 * layer) for layer in range(net.depth)]
    state = {}
    for name, (W, b) in zip(names, net.layers, strict=True):
        state[f"{name}.weight"] = W.copy()
        if b is not None:
            state[f"{name}.bias"] = b.copy()
    return state


@functools.cache
def twelve_points(width=150):
    """A ReLU network trained on twelve points of the circle: net, x, y."""
    x, y = toys.even_circle(12)
    start = kkt_ref.init_paper((2, width, 1), np.random.default_rng(0), first_layer=0.3)
    return kkt_ref.loss_scaled_descent(start, x, y, rate=10.0, target_loss=1e-16).net, x, y


def papers_toy(seed):
    """The README's network on the paper's 20 points, from another start: net, x."""
    x, y = toys.paper_circle()
    start = kkt_ref.init_paper((2, 300, 1), np.random.default_rng(seed), first_layer=0.3)
    net = kkt_ref.loss_scaled_descent(
        start, x, y, rate=10.0, max_steps=150_000, target_loss=1e-16, record_every=50_000
    ).net
    return net, x


@functools.cache
def trained_on_images(name):
    """Ten images, ten unseen ones, and a network in float32 trained on the first."""
    split = binary_split(embedded_images(name), 10, unseen=10)
    rng, x = np.random.default_rng(0), split.x.astype(np.float32)
    start = kkt_ref.init_paper((x.shape[1], 200, 200, 1), rng).astype(np.float32)
    return split, kkt_ref.loss_scaled_descent(start, x, split.y, rate=6.0, target_loss=4e-6).net
