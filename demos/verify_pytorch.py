"""Verify a PyTorch implementation: from an nn.Module to a verdict.

    pip install torch && python demos/verify_pytorch.py

The code below is that of a user: a network, a loss, and an adapter of a few lines.  The kit of
`kkt_ref.conformance` compares its answers with the right ones.  With `--mistake` the user takes
a mean instead of a sum, so that the sum is divided by m, and the verdict names this mistake.
"""

from __future__ import annotations

import argparse
import sys

import numpy as np

from kkt_ref.conformance import check_implementation

try:
    import torch
except ImportError:
    sys.exit("this demo needs PyTorch: pip install torch")


# 1. The user's network, Φ(θ; x), and loss, ‖θ − Σ λ_i y_i ∇θΦ(θ; x_i)‖² (R).
class Network(torch.nn.Module):
    """A ReLU MLP."""

    def __init__(self, net):
        super().__init__()
        self.layers = torch.nn.ModuleList()
        for W, b in zip(net.weights, net.biases, strict=True):
            layer = torch.nn.Linear(W.shape[1], W.shape[0], bias=b is not None)
            layer.weight.data = torch.tensor(W)
            if b is not None:
                layer.bias.data = torch.tensor(b)
            self.layers.append(layer)

    def forward(self, x):
        """Return Φ(θ; x_i), shape (n,)."""
        for layer in self.layers[:-1]:
            x = torch.relu(layer(x))
        return self.layers[-1](x)[:, 0]


def stationarity_loss(network, x, y, multipliers, mistake=False):
    """Return the loss; `create_graph` makes its ∇θΦ differentiable in x and λ."""
    weighted = multipliers * y * network(x)
    total = weighted.mean() if mistake else weighted.sum()
    parameters = list(network.parameters())
    gradients = torch.autograd.grad(total, parameters, create_graph=True)
    pairs = zip(parameters, gradients, strict=True)
    return sum(((p.detach() - g) ** 2).sum() for p, g in pairs)


# 2. The adapter takes and returns NumPy arrays.  The kit skips the methods that it lacks.
class Adapter:
    """The user's code with the methods that the kit calls."""

    mistake = False

    def _network(self, net):
        if net.activation.name != "relu":
            raise NotImplementedError
        return Network(net)

    def outputs(self, net, x):
        """Return Φ(θ; x_i), shape (n,)."""
        return self._network(net)(torch.tensor(x)).detach().numpy()

    def stationarity(self, net, x, y, multipliers):
        """Return the loss and its gradients in x and λ."""
        x, multipliers = (torch.tensor(a, requires_grad=True) for a in (x, multipliers))
        loss = stationarity_loss(
            self._network(net), x, torch.tensor(y), multipliers, mistake=self.mistake
        )
        loss.backward()
        grad_x = torch.zeros_like(x) if x.grad is None else x.grad
        return loss.item(), grad_x.numpy(), multipliers.grad.numpy()


# 3. The verdict.  Cases that the user's network does not support are expected failures.
RELU_ONLY = {f"*: *{kind}*": "this network has ReLU only" for kind in ("gates", "softplus")}


def main(arguments: list[str] | None = None) -> int:
    """Print the verdict and return 0 if all is right."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--mistake", action="store_true", help="divide the sum by m")
    Adapter.mistake = parser.parse_args(arguments).mistake
    failures = 0
    for dtype in (np.float64, np.float32):
        results = check_implementation(
            Adapter(), dtype=dtype, expected_failures=RELU_ONLY, on_fail="return"
        )
        print(f"{np.dtype(dtype).name}:")
        for result in results:
            if result.bad:
                print(f"  {result.name}: error {result.error:.1e}; {result.diagnosis}")
        for status in ("passed", "failed", "unanswered", "skipped"):
            print(f"  {sum(result.status == status for result in results):3d} {status}")
        failures += sum(result.bad for result in results)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
