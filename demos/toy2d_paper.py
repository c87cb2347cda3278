"""The toy with the network of the paper: three layers, 1000 neurons in each hidden one.

This is a part of `toy2d.py --paper`.  The authors' public files have d-1000-1000-1 networks, with a
start of 1e-4 in the first layer, for images; for the toy they state neither the network nor the
length of training, so the same network is used here and trained to a loss of 1e-16.  A million
weights leave no room for the matrix of all gradients that the attack on two layers needs, so all
conditions are here imposed on the first layer only.

Names of dimensions: v vertices, s points of a star.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from plot_toy2d import Trace

import kkt_ref
from kkt_ref.attacks.base import measured_run
from kkt_ref.attacks.kinks import kink_vertices
from kkt_ref.attacks.plane import CIRCLE
from kkt_ref.kkt.equation import fit_multipliers
from kkt_ref.stationarity.closed_form import forward

MEET = 6  # so many kinks have to meet at a candidate
BAND = (0.8, 1.25)  # of |Φ|, in units of its median over the places where most kinks meet
LEAST = 0.05  # candidates with a smaller share of the largest multiplier are left out


def train_wide(
    x: np.ndarray, y: np.ndarray, seed: int, quick: bool, callback: Any
) -> kkt_ref.training.TrainResult:
    """Train the paper's network in float32 to a very small loss; return it in float64."""
    width, target = (100, 1e-6) if quick else (1000, 1e-16)
    start = kkt_ref.init_paper((2, width, width, 1), np.random.default_rng(seed), dtype=np.float32)
    trained = kkt_ref.loss_scaled_descent(
        start,
        x.astype(np.float32),
        y.astype(np.float32),
        rate=10.0,
        target_loss=target,
        record_every=2_000,
        callback=callback,
    )
    return replace(trained, net=trained.net.astype(np.float64))


def by_layer_1(net: kkt_ref.MLP, box: tuple[float, float], trace: Trace) -> kkt_ref.Reconstruction:
    """Attack the first layer with all four conditions, at the points where its kinks meet."""
    vertices, _ = kink_vertices(net, box=box, lines=MEET)
    if len(vertices) == 0:
        raise ValueError(f"there is no point in the box where {MEET} kinks of layer 1 meet")
    # 1. Complementary slackness: only points with |Φ(x)| near the margin q have λ > 0.
    heights = np.abs(forward(net, vertices).outputs)  # (v,)
    heights = heights / np.median(heights[:20])
    vertices = vertices[(heights > BAND[0]) & (heights < BAND[1])]
    # 2. At a kink the gradient is any mean of those around it (Clarke), so each vertex gets a
    #    star of sixteen points on a small circle.
    stars = (vertices[:, None, :] + CIRCLE).reshape(-1, 2)  # (v s, 2)
    y = np.sign(forward(net, stars).outputs)
    # 3. Stationarity (S) of layer 1 with λ ≥ 0 is a non-negative least squares problem.
    first_only = (1.0, *(0.0,) * (net.depth - 1))
    multipliers = fit_multipliers(net, stars, y, layer_weights=first_only)  # (v s,)
    norms = kkt_ref.kkt.stationarity_norms(net, stars, y, multipliers)
    # 4. The multiplier of a vertex is that of its star; points with nearly none are left out.
    mass = multipliers.reshape(len(vertices), -1).sum(axis=1)  # (v,)
    trace.take("vertices", 0, vertices, mass)
    kept = mass > LEAST * mass.max()
    x, labels = vertices[kept], np.sign(forward(net, vertices[kept]).outputs)
    reason = f"The residual of layer 1 is {norms.by_layer[0]:.2f}."
    end = dict(objective=norms.relative**2, steps=1, stop_reason=reason)
    run = measured_run(net, x, labels, mass[kept], **end)
    return kkt_ref.Reconstruction(x, labels, mass[kept], np.zeros(len(x), int), (run,), None)
