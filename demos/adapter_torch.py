"""Any PyTorch model as a network of the library: `TorchNetwork(model.eval(), (C, H, W))`.

θ is all parameters that require gradients; buffers, as those of batch normalisation, stay fixed.
"""

import numpy as np
import torch
from torch.func import functional_call, grad, vmap

from kkt_ref.network import Network


class TorchNetwork(Network):
    """An `nn.Module` with outputs (n, K), for inputs of this shape that arrive flat, (n, d)."""

    warnings = ("the conditions are proved for homogeneous networks trained by gradient descent",)
    layers = d = K = None  # the members that the protocol asks for, set below

    def __init__(self, module, shape, arrays=None):
        if any(part.training for part in module.modules()):
            raise ValueError("module: expected evaluation mode, got training mode; call .eval()")
        self.module, self.shape, layers = module, tuple(shape), {}
        for name, p in module.named_parameters():
            if p.requires_grad:
                layers.setdefault(name.rpartition(".")[0], []).append((name, p.detach()))
        named = [item for layer in layers.values() for item in layer]
        given = zip(named, arrays or [p for _, p in named], strict=True)
        self.parameters = {name: torch.as_tensor(a).to(p.device) for (name, p), a in given}
        parts = iter(p.cpu().numpy() for p in self.parameters.values())
        self.layers = tuple(tuple(next(parts) for _ in layer) for layer in layers.values())
        self.d, self.device = int(np.prod(self.shape)), named[0][1].device
        self.K = self.outputs(np.zeros((1, self.d), self.dtype)).shape[1]

    def with_arrays(self, arrays):
        """Return this network with other parameters."""
        return TorchNetwork(self.module, self.shape, arrays)

    def _phi(self, parameters, x):
        return functional_call(self.module, parameters, (x.reshape(-1, *self.shape),))

    def _batches(self, function, *arrays):  # 100 samples at a time
        parts = (torch.as_tensor(a).to(self.device).split(100) for a in arrays)
        return (function(self.parameters, *batch) for batch in zip(*parts, strict=True))

    def outputs(self, x):
        """Φ(θ; x_i), shape (n, K)."""
        return np.concatenate([phi.cpu() for phi in self._batches(self._phi, x)])

    def weighted_gradient(self, x, coefficients):
        """Σ_ic U_ic ∇θΦ_c(θ; x_i)."""
        gradient = grad(lambda p, x, u: (self._phi(p, x) * u).sum())
        sums = list(self._batches(gradient, x, coefficients))
        return tuple(sum(s[k] for s in sums).cpu().numpy() for k in self.parameters)

    def gradient_rows(self, x, coefficients):
        """The same for each sample, shape (n, P)."""
        rows = vmap(grad(lambda p, x, u: (self._phi(p, x) * u).sum()), (None, 0, 0))
        found = self._batches(rows, x, coefficients)
        return np.concatenate([np.hstack([g.flatten(1).cpu() for g in r.values()]) for r in found])
