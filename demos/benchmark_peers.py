"""The stationarity loss in PyTorch and JAX, for the benchmark; None if not installed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import kkt_ref

Array = np.ndarray
Run = Callable[[], Any]


def _phi(biases: tuple[Any, ...], arrays: Any, x: Any, relu: Callable[[Any], Any]) -> Any:
    given, a = iter(arrays), x
    for layer, b in enumerate(biases):
        a = (a if layer == 0 else relu(a)) @ next(given).T
        a = a if b is None else a + next(given)
    return a[:, 0]


def _pytorch(net: kkt_ref.MLP, threads: int) -> tuple[Any, list[Any]] | None:
    """PyTorch itself, and the parameters as its tensors."""
    try:
        import torch
    except ImportError:
        return None
    torch.set_num_threads(threads)
    return torch, [torch.tensor(p, requires_grad=True) for p in net.arrays]


def pytorch(net: kkt_ref.MLP, x: Array, y: Array, lam: Array, threads: int) -> Run | None:
    """Double backward: the gradient in θ is differentiated again in x and λ."""
    if (found := _pytorch(net, threads)) is None:
        return None
    torch, arrays = found
    x, lam = (torch.tensor(a, requires_grad=True) for a in (x, lam))
    y = torch.tensor(y)

    def run() -> Any:
        weighted = torch.sum(lam * y * _phi(net.biases, arrays, x, torch.relu))
        sums = torch.autograd.grad(weighted, arrays, create_graph=True)
        loss = sum(torch.sum((p.detach() - g) ** 2) for p, g in zip(arrays, sums, strict=True))
        return torch.autograd.grad(loss, (x, lam))

    return run


def pytorch_training(net: kkt_ref.MLP, x: Array, y: Array, threads: int, steps: int) -> Run | None:
    """Steps of gradient descent on the logistic loss: forward, backward, and the update by SGD."""
    if (found := _pytorch(net, threads)) is None:
        return None
    torch, arrays = found
    x, y, optimiser = torch.tensor(x), torch.tensor(y), torch.optim.SGD(arrays, lr=0.01)

    def run() -> None:
        for _ in range(steps):
            margins = y * _phi(net.biases, arrays, x, torch.relu)
            optimiser.zero_grad()
            torch.nn.functional.softplus(-margins).mean().backward()
            optimiser.step()

    return run


def jax(net: kkt_ref.MLP, x: Array, y: Array, lam: Array, threads: int) -> Run | None:
    """The compiled gradient of the loss, through the gradient in θ; JAX uses all threads."""
    try:
        import jax
        import jax.numpy as jnp
    except ImportError:
        return None
    jax.config.update("jax_enable_x64", True)
    arrays = tuple(map(jnp.asarray, net.arrays))

    def loss(x: Any, lam: Any) -> Any:
        def weighted(arrays: Any) -> Any:
            return jnp.sum(lam * y * _phi(net.biases, arrays, x, jax.nn.relu))

        sums = jax.grad(weighted)(arrays)
        return sum(jnp.sum((p - g) ** 2) for p, g in zip(arrays, sums, strict=True))

    compiled = jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))
    x, lam = jnp.asarray(x), jnp.asarray(lam)
    return lambda: jax.block_until_ready(compiled(x, lam))
