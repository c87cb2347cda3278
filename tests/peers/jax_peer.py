"""Straightforward JAX: grad of grad, vmap for the samples."""

import jax
import jax.numpy as jnp
import numpy as np

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_default_matmul_precision", "highest")


def activate(activation, z):
    if activation.name == "relu":
        return jax.nn.relu(z)
    if activation.name == "softplus":
        return jax.nn.softplus(activation.alpha * z) / activation.alpha
    raise NotImplementedError(activation.name)


def phi(net, arrays, x):
    given, a = iter(arrays), x
    for layer, b in enumerate(net.biases):
        a = a if layer == 0 else activate(net.activation, a)
        a = a @ next(given).T
        if b is not None:
            a = a + next(given)
    return a[..., 0]


class Jax:
    def outputs(self, net, x):
        return np.asarray(phi(net, net.arrays, jnp.asarray(x)))

    def per_sample_gradients(self, net, x):
        one = jax.grad(lambda arrays, x_i: phi(net, arrays, x_i))
        grads = jax.vmap(one, in_axes=(None, 0))(tuple(map(jnp.asarray, net.arrays)), x)
        return np.asarray(jnp.concatenate([g.reshape(len(x), -1) for g in grads], axis=1))

    def _residual(self, net, x, y, lam):
        arrays = tuple(map(jnp.asarray, net.arrays))
        sums = jax.grad(lambda arrays: jnp.sum(lam * y * phi(net, arrays, x)))(arrays)
        return [p - g for p, g in zip(arrays, sums, strict=True)]

    def stationarity_residual(self, net, x, y, multipliers):
        parts = self._residual(net, jnp.asarray(x), y, multipliers)
        return np.concatenate([np.asarray(r).ravel() for r in parts])

    def stationarity(self, net, x, y, multipliers):
        def loss(x, lam):
            return sum(jnp.sum(r**2) for r in self._residual(net, x, y, lam))

        value, grads = jax.value_and_grad(loss, argnums=(0, 1))(
            jnp.asarray(x), jnp.asarray(multipliers)
        )
        return float(value), np.asarray(grads[0]), np.asarray(grads[1])
