"""Any JAX function as a network of the library: `JaxNetwork(apply, parameters, (H, W, C))`.

`apply(parameters, x)` returns outputs (n, K) for inputs (n, H, W, C), as those of Flax and Haiku
do; θ is all leaves of `parameters`.  State, as that of batch normalisation, is fixed in `apply`.
"""

from itertools import groupby

import jax
import numpy as np

from kkt_ref.network import Network


class JaxNetwork(Network):
    """A function of parameters and inputs of this shape, which arrive flat, (n, d)."""

    warnings = ("the conditions are proved for homogeneous networks trained by gradient descent",)
    layers = d = K = None  # set below; the protocol asks for these names

    def __init__(self, apply, parameters, shape):
        self.apply, self.parameters, self.shape = apply, parameters, tuple(shape)
        leaves, self.tree = jax.tree_util.tree_flatten_with_path(parameters)
        layers = groupby(leaves, key=lambda item: item[0][:-1])  # arrays of one branch
        self.layers = tuple(tuple(np.asarray(leaf) for _, leaf in layer) for _, layer in layers)
        self.d = int(np.prod(self.shape))

        def gradient(parameters, x, u):
            return jax.grad(lambda p: (self._phi(p, x) * u).sum())(parameters)

        self._outputs, self._gradient = jax.jit(self._phi), jax.jit(gradient)
        self._rows = jax.jit(jax.vmap(gradient, (None, 0, 0)))
        self.K = self.outputs(np.zeros((1, self.d), self.dtype)).shape[1]

    def _phi(self, parameters, x):
        return self.apply(parameters, x.reshape(-1, *self.shape))

    def with_arrays(self, arrays):
        """Return this network with other parameters."""
        parameters = jax.tree_util.tree_unflatten(self.tree, list(arrays))
        return JaxNetwork(self.apply, parameters, self.shape)

    def outputs(self, x):
        """Φ(θ; x_i), shape (n, K)."""
        return np.asarray(self._outputs(self.parameters, x))

    def weighted_gradient(self, x, coefficients):
        """Σ_ic U_ic ∇θΦ_c(θ; x_i)."""
        found = self._gradient(self.parameters, x, coefficients)
        return tuple(map(np.asarray, jax.tree_util.tree_leaves(found)))

    def gradient_rows(self, x, coefficients):
        """The same for each sample, shape (n, P)."""
        leaves = jax.tree_util.tree_leaves(self._rows(self.parameters, x, coefficients))
        return np.hstack([np.asarray(leaf).reshape(len(x), -1) for leaf in leaves])
