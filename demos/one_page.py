"""The paper on one page: training points come back out of the weights of a network.

    python demos/one_page.py

Gradient descent trains a 2-h-1 ReLU network Φ(θ; x) on 20 points of the plane.  Its weights become,
nearly, a sum over these points: θ = Σ_i λ_i y_i ∇θΦ(θ; x_i) with λ_i ≥ 0 (Haim et al. 2022,
arXiv 2206.07758).  The page measures the four KKT conditions, and attacks θ twice: by this equation
alone, as published, and by all four conditions, an idea of kkt_ref.

Dimensions: n samples, m candidates, h neurons, P = 4h parameters.
"""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # matrices this small lose by threads

import autograd.numpy as np
import matplotlib.pyplot as plt
from autograd import value_and_grad
from autograd.scipy.special import expit
from scipy.cluster.hierarchy import fclusterdata
from scipy.optimize import minimize, nnls

BOX = 1.5  # no coordinate of a point is larger: the attacks know this and θ, and nothing else


# 1. The network.  All its weights are one vector θ.
def layers(theta):
    """The parts W (h, 2), b (h,) and v (h,) of θ."""
    h = len(theta) // 4
    return theta[: 2 * h].reshape(h, 2), theta[2 * h : 3 * h], theta[3 * h :]


def phi(theta, x):
    """The outputs Φ(θ; x_i) = v · relu(W x_i + b), (n,)."""
    W, b, v = layers(theta)
    return np.maximum(x @ W.T + b, 0) @ v


def per_sample_gradients(theta, x, alpha=None):
    """The gradients ∇θΦ(θ; x_i), (n, P).  A gate is 0 or 1, or with ``alpha`` σ(α z)."""
    W, b, v = layers(theta)
    z = x @ W.T + b  # (n, h)
    by_b = v * (z > 0 if alpha is None else expit(alpha * z))  # (n, h)
    by_W = by_b[:, :, None] * x[:, None, :]  # (n, h, 2)
    return np.concatenate([by_W.reshape(len(x), -1), by_b, z * (z > 0)], axis=1)


# 2. Training.  Each step adds a sum over the samples to θ, and in the end θ is such a sum.
def train(theta, x, y, target=1e-16, rate=10.0):
    """Follow −∇ log(loss) until the loss, the mean of log(1 + exp(−y_i Φ(x_i))), is ``target``."""
    while True:
        u = y * phi(theta, x)  # the margins, (n,)
        losses, gradients = np.log1p(np.exp(-u)), per_sample_gradients(theta, x)
        if np.mean(losses) <= target:
            return theta
        pull = expit(-u) / np.sum(losses)  # −∂ log(loss) / ∂u_i, (n,)
        size = rate / np.max(np.sum(gradients**2, axis=1))
        theta = theta + size * (pull * y) @ gradients


# 3. The KKT conditions of  min ½‖θ‖²  such that  y_i Φ(θ; x_i) ≥ q.  Training moves the kinks of
# many neurons onto the points.  There a gate may be anything from 0 to 1, and σ(α z) is a choice.
def stationarity_loss(theta, x, y, lam, alpha=None):
    """‖θ − Σ_i λ_i y_i ∇θΦ(θ; x_i)‖²."""
    return np.sum((theta - (lam * y) @ per_sample_gradients(theta, x, alpha)) ** 2)


def fit_multipliers(theta, x, y, alpha=None):
    """The λ ≥ 0 that minimise this loss, (n,)."""
    return nnls((y[:, None] * per_sample_gradients(theta, x, alpha)).T, theta, maxiter=10**6)[0]


def kkt_conditions(theta, x, y, lam, q, alpha=None):
    """How far each condition is violated; 0 means that it holds."""
    u = y * phi(theta, x)
    return {
        "stationarity": np.sqrt(stationarity_loss(theta, x, y, lam, alpha) / np.sum(theta**2)),
        "primal feasibility": np.max(np.maximum(q - u, 0)) / q,
        "dual feasibility": np.max(np.maximum(-lam, 0)),
        "complementary slackness": np.sum(np.abs(lam * (u - q))) / np.sum(np.abs(lam) * q),
    }


# 4. The published attack.  It minimises this loss over all x_i and λ_i ≥ 0 from a random start.
def sharpness(theta, width):
    """The α with which gates open over about ``width`` in the plane, so that x can follow them."""
    return 1 / (width * np.sqrt(2 * np.mean(layers(theta)[0] ** 2)))


def attack_by_stationarity(theta, rng, m=40):
    """Candidates (m, 2), their multipliers (m,), and the loss."""
    alpha, y = sharpness(theta, 0.02), np.resize([1.0, -1.0], m)
    start = np.append(rng.normal(0, 0.5, 2 * m), rng.uniform(size=m))

    def loss(v):
        return stationarity_loss(theta, v[: 2 * m].reshape(m, 2), y, v[2 * m :], alpha)

    bounds = [(-BOX, BOX)] * (2 * m) + [(0, None)] * m
    end = minimize(value_and_grad(loss), start, jac=True, bounds=bounds, options={"maxiter": 1000})
    return end.x[: 2 * m].reshape(m, 2), end.x[2 * m :], end.fun


# 5. All four conditions.  λ > 0 only where |Φ(x)| is the margin q.  On a grid this is convex.
def grid(step):
    """All points of a square grid in the box, (m, 2)."""
    ticks = np.arange(-BOX, BOX + step / 2, step)
    return np.stack(np.meshgrid(ticks, ticks), axis=-1).reshape(-1, 2)


def fit_in_band(theta, q, step):
    """The grid points with q ≤ |Φ(x)| ≤ 1.3 q, (m, 2), their multipliers (m,), and the loss."""
    x = grid(step)
    x = x[(np.abs(phi(theta, x)) >= q) & (np.abs(phi(theta, x)) <= 1.3 * q)]
    y, alpha = np.sign(phi(theta, x)), sharpness(theta, step / 3)
    lam = fit_multipliers(theta, x, y, alpha)
    return x, lam, stationarity_loss(theta, x, y, lam, alpha)


def attack_by_all_conditions(theta, step=0.025):
    """Candidates (m, 2), each the mean of neighbours, and their multipliers (m,)."""
    # q is unknown.  A band above it holds too few training points to explain θ.  So the attack
    # takes the highest band that leaves at most twice the smallest residual, 4 times its square.
    bands = np.max(np.abs(phi(theta, grid(step)))) * 0.95 ** np.arange(1, 60)
    losses = np.array([fit_in_band(theta, q, 2 * step)[2] for q in bands])
    x, lam, _ = fit_in_band(theta, bands[losses <= 4 * np.min(losses)][0], step)
    x, lam = x[lam > 0.01 * np.max(lam)], lam[lam > 0.01 * np.max(lam)]
    group = fclusterdata(x, 5 * step, "distance", method="average") - 1
    mass = np.bincount(group, lam)
    return np.stack([np.bincount(group, lam * column) / mass for column in x.T], axis=1), mass


def show(ax, theta, q, x, name, found, lam):
    """Draw and count the candidates that have at least a tenth of the largest multiplier."""
    found = found[lam >= 0.1 * np.max(lam)]
    near = np.linalg.norm(x[:, None] - found, axis=2) <= 0.05  # (n, m)
    back, true = np.sum(np.any(near, axis=1)), np.any(near, axis=0)
    title = f"{name}:\n{back} of {len(x)} points, and {np.sum(~true)} that are not there"
    print(title.replace("\n", " "))
    plane = [*grid(0.01).T.reshape(2, 301, 301), phi(theta, grid(0.01)).reshape(301, 301) / q]
    ax.contourf(*plane, np.linspace(-3, 3, 25), cmap="RdBu_r", alpha=0.35, extend="both")
    ax.contour(*plane, [-1, 1], colors="0.35", linewidths=0.9, linestyles="solid")
    ax.plot([], color="0.35", label="margin |Φ(x)| = q")
    ax.scatter(*x.T, 200, fc="none", ec="black", label="training point")
    ax.scatter(*found[true].T, 30, "black", label="reconstructed", zorder=3)
    ax.scatter(*found[~true].T, 70, "#D55E00", marker="X", ec="white", label="not there", zorder=3)
    ax.set(title=title, aspect="equal", xlabel="$x_1$", ylabel="$x_2$")


def main(h=200, seed=0):
    """Train, measure, attack twice, and draw."""
    rng, angles = np.random.default_rng(seed), 2 * np.pi * np.arange(20) / 20
    x, y = np.stack([np.cos(angles), np.sin(angles)], axis=1), np.resize([1.0, -1.0], 20)
    start = np.append(0.3 * rng.normal(size=3 * h), rng.uniform(-(h**-0.5), h**-0.5, h))
    theta = train(start, x, y)
    q = np.min(y * phi(theta, x))
    for gates, alpha in (("ReLU's own", None), ("Smoothed", sharpness(theta, 0.02))):
        lam = fit_multipliers(theta, x, y, alpha)
        for name, violation in kkt_conditions(theta, x, y, lam, q, alpha).items():
            print(f"{gates} gates: {name} is violated by {violation:.3f}")
    figure, axes = plt.subplots(1, 2, figsize=(9, 5.2), layout="constrained")
    best = min((attack_by_stationarity(theta, rng) for _ in range(4)), key=lambda run: run[2])
    show(axes[0], theta, q, x, "Stationarity alone", *best[:2])
    show(axes[1], theta, q, x, "All four conditions", *attack_by_all_conditions(theta))
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    figure.savefig("one_page.png", dpi=160)


if __name__ == "__main__":
    main()
