"""NumPy in the style of JAX users: functions, weights of shape (in, out), the chain rule by hand."""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view


def expit(z):
    return 0.5 * (1 + np.tanh(0.5 * z))


def read(net):
    Ws = [W.T for W in net.weights]
    bs = [np.zeros(W.shape[1], W.dtype) if b is None else b for W, b in zip(Ws, net.biases)]
    return Ws, bs, net.activation.name, getattr(net.activation, "alpha", None)


def value_of(kind, alpha, z):
    if kind == "softplus":
        return np.logaddexp(0, alpha * z).astype(z.dtype) / alpha
    return np.maximum(z, 0)


def gate_of(kind, alpha, z):
    if kind == "relu":
        return (z > 0).astype(z.dtype)
    return expit(alpha * z)


def slope_of(kind, alpha, z):
    if kind == "gated":
        return (z > 0).astype(z.dtype)
    return gate_of(kind, alpha, z)


def gate_slope_of(kind, alpha, z):
    g = gate_of(kind, alpha, z)
    return 0 * z if kind == "relu" else alpha * g * (1 - g)


def forward(net, x):
    Ws, bs, kind, alpha = read(net)
    inputs, zs = [x], []
    for W, b in zip(Ws, bs):
        zs.append(inputs[-1] @ W + b)
        inputs.append(value_of(kind, alpha, zs[-1]))
    return inputs[:-1], zs


def backward(net, zs, U):
    Ws, _, kind, alpha = read(net)
    deltas = [U]
    for W, z in zip(Ws[:0:-1], zs[-2::-1]):
        deltas.append(gate_of(kind, alpha, z) * (deltas[-1] @ W.T))
    return deltas[::-1]


def flatten(net, dWs, dbs):
    parts = []
    for dW, db, b in zip(dWs, dbs, net.biases):
        parts.append(dW.T.ravel())
        if b is not None:
            parts.append(db)
    return np.concatenate(parts)


def gradient_sum(inputs, deltas):
    return [a.T @ d for a, d in zip(inputs, deltas)], [d.sum(axis=0) for d in deltas]


def rest(net, x, U):
    Ws, bs, _, _ = read(net)
    inputs, zs = forward(net, x)
    dWs, dbs = gradient_sum(inputs, backward(net, zs, U))
    rbs = [b - db if kept is not None else 0 * b for b, db, kept in zip(bs, dbs, net.biases)]
    return [W - dW for W, dW in zip(Ws, dWs)], rbs


def loss(net, x, U):
    """The loss and its gradients in x and U."""
    Ws, bs, kind, alpha = read(net)
    inputs, zs = forward(net, x)
    deltas = backward(net, zs, U)
    rWs, rbs = rest(net, x, U)
    value = sum((r**2).sum() for r in rWs) + sum((r**2).sum() for r in rbs)
    t, tangents = -inputs[0] @ rWs[0] - rbs[0], []
    for l in range(1, len(Ws)):
        tangents.append(t)
        t = (gate_of(kind, alpha, zs[l - 1]) * t) @ Ws[l] - inputs[l] @ rWs[l] - rbs[l]
    z_bar = np.zeros_like(zs[-1])
    for l in range(len(Ws) - 1, -1, -1):
        a_bar = z_bar @ Ws[l].T - deltas[l] @ rWs[l].T
        if l > 0:
            z = zs[l - 1]
            z_bar = a_bar * slope_of(kind, alpha, z)
            z_bar = z_bar + gate_slope_of(kind, alpha, z) * tangents[l - 1] * (deltas[l] @ Ws[l].T)
    return value, 2 * a_bar, 2 * t


class Adapter:
    def outputs(self, net, x):
        return forward(net, x)[1][-1][:, 0]

    def per_sample_gradients(self, net, x):
        one = np.ones((1, 1), x.dtype)
        rows = []
        for i in range(len(x)):
            inputs, zs = forward(net, x[i : i + 1])
            rows.append(flatten(net, *gradient_sum(inputs, backward(net, zs, one))))
        return np.stack(rows)

    def stationarity_residual(self, net, x, y, multipliers):
        return flatten(net, *rest(net, x, (multipliers * y)[:, None]))

    def stationarity(self, net, x, y, multipliers):
        value, grad_x, grad_u = loss(net, x, (multipliers * y)[:, None])
        return value, grad_x, y * grad_u[:, 0]

    def kkt_conditions(self, net, x, y, multipliers, margin):
        residual = self.stationarity_residual(net, x, y, multipliers)
        u = y * self.outputs(net, x)
        lam = np.abs(multipliers)
        mass = lam.sum() * margin
        return (
            np.linalg.norm(residual) / np.linalg.norm(net.theta),
            np.maximum(margin - u, 0).max() / margin,
            np.maximum(-multipliers, 0).max(),
            (lam * np.abs(u - margin)).sum() / mass if mass else 0.0,
        )

    def training_step(self, net, x, y, step):
        inputs, zs = forward(net, x)
        u = y * zs[-1][:, 0]
        pull = y * expit(-u) / len(y)
        dWs, dbs = gradient_sum(inputs, backward(net, zs, pull[:, None]))
        return (net.theta + step * flatten(net, dWs, dbs)).astype(x.dtype)

    def class_outputs(self, net, x):
        return forward(net, x)[1][-1]

    def coefficients(self, y, lam):
        hot = np.eye(lam.shape[1], dtype=lam.dtype)[y]
        lam = lam * (1 - hot)
        return hot * lam.sum(axis=1, keepdims=True) - lam, hot

    def class_stationarity(self, net, x, y, multipliers):
        U, hot = self.coefficients(y, multipliers)
        value, grad_x, grad_u = loss(net, x, U)
        return value, grad_x, (grad_u * hot).sum(axis=1, keepdims=True) - grad_u * 1

    def class_kkt_conditions(self, net, x, y, multipliers, margin):
        U, hot = self.coefficients(y, multipliers)
        residual = flatten(net, *rest(net, x, U))
        found = forward(net, x)[1][-1]
        gaps = (found * hot).sum(axis=1, keepdims=True) - found
        u, lam = gaps[hot == 0], multipliers[hot == 0]
        mass = np.abs(lam).sum() * margin
        return (
            np.linalg.norm(residual) / np.linalg.norm(net.theta),
            np.maximum(margin - u, 0).max() / margin,
            np.maximum(-lam, 0).max(),
            np.abs(lam * (u - margin)).sum() / mass if mass else 0.0,
        )

    def ssim(self, a, b):
        line = np.exp(-0.5 * (np.arange(-5, 6) / 1.5) ** 2)
        window = np.outer(line, line) / line.sum() ** 2

        def mean(image):
            return (sliding_window_view(image, (11, 11), axis=(1, 2)) * window).sum(axis=(-2, -1))

        mean_a, mean_b = mean(a), mean(b)
        var = mean(a * a) - mean_a**2 + mean(b * b) - mean_b**2
        top = (2 * mean_a * mean_b + 0.01**2) * (2 * (mean(a * b) - mean_a * mean_b) + 0.03**2)
        return (top / ((mean_a**2 + mean_b**2 + 0.01**2) * (var + 0.03**2))).mean()
