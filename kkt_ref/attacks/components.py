r"""Training images as independent components of the first layer.

Every step of training adds multiples of training images to the rows of the first layer, so that

    W₁ = (its start) + Σ_i a_i x_iᵀ.

The leading right singular vectors V (k, d) of W₁ therefore span the training images, and every
image of this span is a mixture B V.  Which mixtures are images?  A picture is mostly flat: its
neighbouring pixels differ at few places, the edges.  A mixture of pictures has the edges of all
of them.  By the central limit theorem its differences are closer to a normal distribution, and
the pictures themselves are the mixtures whose differences are farthest from it.  To find them is
the problem of independent component analysis.  Signals, labels, multipliers, data and other layers
are not needed, but the shape (C, H, W) of an image is.

The attack maximises the likelihood of all k components together (Bell and Sejnowski 1995; Cardoso
1997), under the model that the differences of a component at one place p, one for each of its C
colours, follow Student's t distribution with ν = 2.  First and second differences count: between
neighbours across and down, and between these differences.  That is, it minimises

    L(B) = Σ_i (ν + C)/2C · mean_p log(1 + ‖Δ_p x_i‖²/ν)  −  log |det B|,    x_i = Σ_j B_ij v_j.

To every squared norm the code adds a thousandth of its mean, as noise.  The determinant keeps the
components apart, and no two of them need to be orthogonal.  FastICA (Hyvärinen 1999) forces
orthogonality and finds half as many digits.  Three things are added.
1. The rank grows: 20 directions first, then a fifth more at a time, from the solution before.
   The leading directions hold the least noise, and a search in few dimensions is easier.
   The last rank counts the singular values above the edge of the random start.
2. What was subtracted from all images is found as well.  Digits minus their mean have the edges of
   the mean; the digits themselves have none of them.  So x_i + c_i·m has sparser differences than
   x_i has, if m is the mean, and a last climb fits B, all c_i and m together.  A known mean is
   one more direction of the span.
3. Several random starts are compared.  What other starts find too comes first, and what they find
   is averaged.

Kariyappa et al. (ICML 2023) separate the images of one batch from its *gradient* by FastICA.  The
application to the weights of a trained network, the likelihood of differences of all colours, the
growing rank and the search for the mean are this library's.

Names of dimensions: k directions, d = C·H·W inputs, P places of a difference, m candidates.
"""

from functools import partial
from typing import Any, NamedTuple

import autograd.numpy as anp
import numpy as np
import scipy

from kkt_ref._parallel import Workers, check_workers, one_thread, run_all
from kkt_ref._validation import Shape, as_array, check_count, check_image_shape, check_points
from kkt_ref.attacks.base import Callback, Reconstruction, Run, one_multiplier, predicted_labels
from kkt_ref.kkt.equation import Equation, Stationarity
from kkt_ref.network.mlp import MLP, check_mlp

Array = np.ndarray

TAIL = 2.0  # ν: small for rare and strong edges; 1.5 to 2.5 find nearly the same images
FLOOR = 0.001  # power of the noise in the differences of an image, as a part of their own
FIRST_RANK, GROWTH = 20, 1.2
STEPS, LAST_STEPS = 60, 150  # of L-BFGS at each rank, and of the last climb
STARTS = 4
BLOCK = 64  # components that one step of a sum takes together
ALIKE = 0.9  # |cosine| from which on two starts have found the same image


class Components(NamedTuple):
    """The end of one start; each image and its share may be multiplied by one number."""

    images: Array  # x_i, in the span of the first layer, (k, d)
    shares: Array  # c_i, (k,): x_i + c_i · mean is the image before the mean was subtracted
    mean: Array  # (d,), up to a factor
    objective: float  # L
    steps: int
    stop_reason: str


def reconstruct_components(
    net: MLP,
    *,
    image_shape: Shape,
    mean: Array | None = None,
    seed: int = 0,
    restarts: int = STARTS,
    callback: Callback | None = None,
    workers: Workers = None,
) -> Reconstruction:
    """Reconstruct training images as independent components of the first layer.

    A ValueError is raised if the first layer does not stand out of its random start.

    Parameters
    ----------
    net : MLP
        Trained, with float32 or float64 weights.
    image_shape : (channels, height, width)
        The inputs of the network are images of this shape.
    mean : array of shape (d,), optional
        What was subtracted from all training images, if it is known.
    seed, restarts, callback, workers
        As in :func:`kkt_ref.attacks.reconstruct`; the callback's stage is "components".

    Returns
    -------
    Reconstruction
        The candidates on which the starts agree best come first.  Each is followed by its negative,
        since the sign of a component is free, and all have one norm, since its size is free too.
        ``multipliers`` are the λ ≥ 0 with which the candidates of one start explain θ best;
        ``pictures`` are the candidates plus the mean, as found or given.
    """
    check_mlp(net)
    C, H, W = shape = check_image_shape(image_shape, "image_shape")
    if net.d != C * H * W or min(H, W) < 3:
        raise ValueError(
            f"image_shape: expected images of at least 3 x 3 pixels and {net.d} numbers in all, as "
            f"the network has inputs, got {C} x {H} x {W}; without image_shape, reconstruct takes "
            "inputs that are not images"
        )
    if mean is not None:
        mean = check_points(as_array(mean, "mean")[None], "mean", d=net.d)[0].astype(np.float64)
    seed, restarts = check_count(seed, "seed", 0), check_count(restarts, "restarts")
    workers = check_workers(workers)

    span = span_of_images(net.weights[0])

    def after(number: int, found: Components) -> None:
        if callback is not None:
            callback("components", number, found.images.copy(), np.ones(len(found.images)))

    # one evaluation multiplies (k, k) by (k, C·P) twice
    products = restarts * 10 * STEPS * len(span) ** 2 * 4 * net.d
    starts = run_all(
        partial(_search, span, shape, mean, seed),
        restarts,
        after,
        workers=workers,
        seconds=products * 1e-10,
    )
    return _pooled(net, starts, seed)


def component_loss(B: Array, shares: Array, mean: Array, V: Array, shape: Shape) -> Array:
    """L(B) of the images B V + shares · mean, as the definition writes it.

    Autograd differentiates it.  B (k, k), shares (k,), mean (d,), V (k, d).
    """
    C, H, W = shape
    loss = -anp.linalg.slogdet(B)[1]
    for row, share in zip(B, shares, strict=True):
        image = anp.reshape(anp.dot(row, V) + share * mean, shape)
        across, down = anp.diff(image, axis=2), anp.diff(image, axis=1)
        second = anp.diff(across, axis=2), anp.diff(across, axis=1), anp.diff(down, axis=1)
        squares = [anp.ravel(anp.sum(y**2, axis=0)) for y in (across, down, *second)]
        r2 = anp.concatenate(squares)  # (P,)
        heavy = anp.log(1 + (r2 + FLOOR * anp.mean(r2)) / TAIL)
        loss = loss + (TAIL + C) / (2 * C) * anp.mean(heavy)
    return loss


def differences(shape: Shape) -> "scipy.sparse.csr_array":
    """Return the matrix (C·P, d) that takes an image to its first and second differences."""
    C, H, W = shape

    def step(size: int) -> scipy.sparse.dia_array:
        return scipy.sparse.diags_array([-1.0, 1.0], offsets=[0, 1], shape=(size - 1, size))

    same, kron = scipy.sparse.eye_array, scipy.sparse.kron
    first = kron(same(H), step(W)), kron(step(H), same(W))
    second = kron(same(H), step(W - 1) @ step(W)), kron(step(H - 1) @ step(H), same(W))
    every = scipy.sparse.vstack([*first, *second, kron(step(H), step(W))])  # (P, H·W)
    return kron(same(C), every).tocsr().astype(np.float32)


@one_thread()
def span_of_images(weights: Array) -> Array:
    """Return the leading right singular vectors of the first layer, (k, d), in order.

    k counts the singular values above the edge of the random start.  A start of independent
    entries has the spectrum of Marchenko and Pastur, and its scale is read off the lower quartile
    of all singular values, which the data hardly move.
    """
    W = weights.astype(np.float64)
    h, d = W.shape
    squares, sides = np.linalg.eigh(W @ W.T if h <= d else W.T @ W)
    squares, sides = squares[::-1], sides[:, ::-1].T  # the largest first, (min(h, d), h or d)
    ratio = min(h, d) / max(h, d)
    edge = (1 + np.sqrt(ratio)) ** 2 / _quartile(ratio) * squares[3 * len(squares) // 4]
    rounding = max(h, d) * np.finfo(float).eps * squares[0]
    k = int(np.sum(squares > max(edge, rounding)))
    if k < 2:
        raise ValueError(
            "net: the singular values of the first layer do not stand out of those of a random "
            "start, so it shows no directions that training added; expected a small random start, "
            "for example 1e-4, and training until the samples are separated"
        )
    V = sides[:k] @ W if h <= d else sides[:k]
    return V / np.linalg.norm(V, axis=1, keepdims=True)


def _quartile(ratio: float) -> float:
    """Return the lower quartile of the squared singular values of (N, N·ratio) noise, over N."""
    low, high = (1 - np.sqrt(ratio)) ** 2, (1 + np.sqrt(ratio)) ** 2
    x = low + (high - low) * (1 - np.cos(np.linspace(0, np.pi, 2001))) / 2
    density = np.sqrt(np.maximum((high - x) * (x - low), 0)) / np.maximum(x, 1e-12)
    mass = scipy.integrate.cumulative_trapezoid(density, x, initial=0)
    return float(np.interp(0.25 * mass[-1], mass, x))


def slopes_of_loss(
    B: Array, shares: Array, mean: Array, V: Array, D: Any, C: int
) -> tuple[float, Array, Array, Array]:
    """Return L and its gradients in B (k, k), shares (k,) and mean (d,), in closed form.

    ``D`` is the matrix of the differences.  The components are taken a few at a time, so that
    temporary arrays stay small.
    """
    loss, slope_B, slope_shares = 0.0, np.empty_like(B), np.empty_like(shares)
    slope_mean, one = np.zeros(len(mean)), V.dtype.type
    for first in range(0, len(B), BLOCK):
        rows = slice(first, first + BLOCK)
        x = V.T @ B[rows].T.astype(V.dtype) + np.outer(mean, shares[rows]).astype(V.dtype)
        y = (D @ x).reshape(C, -1, x.shape[1])  # (C, P, rows)
        r2 = np.sum(y * y, axis=0)  # (P, rows)
        r2 += one(FLOOR) * r2.mean(axis=0)
        heavy = 1 + r2 / one(TAIL)
        loss += (TAIL + C) / 2 * float(np.sum(np.log(heavy), dtype=np.float64))
        weights = one((TAIL + C) / TAIL) / heavy
        weights += one(FLOOR) * weights.mean(axis=0)
        y *= weights
        pull = D.T @ y.reshape(-1, x.shape[1])  # ∂/∂x, (d, rows)
        slope_B[rows], slope_shares[rows] = (V @ pull).T, mean @ pull
        slope_mean += pull @ shares[rows]
    T = D.shape[0]
    slope_B = slope_B / T - np.linalg.inv(B).T
    loss = loss / T - float(np.linalg.slogdet(B)[1])
    return loss, slope_B, slope_shares / T, slope_mean / T


def _search(span: Array, shape: Shape, known: Array | None, seed: int, number: int) -> Components:
    """Climb through growing ranks, and in the last climbs find the mean unless it is known."""
    rng, V = np.random.default_rng([seed, number]), span  # (k, d)
    if known is not None:
        V = np.concatenate([known[None], V])  # the images before subtraction lie in this span
    D, C = differences(shape), shape[0]
    B, steps = np.zeros((0, 0)), 0
    for k in ranks(len(V)):
        basis = _Whitened(V[:k], D, C)
        end = Climb(basis.extended(B, rng), np.zeros(k), np.zeros(V.shape[1]))
        end = basis.climb(end, STEPS if k < len(V) else LAST_STEPS, slice(k * k))
        B, steps = end.B, steps + end.steps
    if known is not None:
        parts = B[:, 1:] @ span, B[:, 0], known
    else:
        shared = end._replace(shares=basis.common_slope(B))
        for free in (slice(k * k, None), slice(None)):  # the mean and its shares, then all
            shared = basis.climb(shared, LAST_STEPS, free)
            steps += shared.steps
        # L is a mean over about 2 d places, and d numbers more gain less by fitting noise
        if end.loss - shared.loss > 1:
            end, parts = shared, centred(shared.B @ V, shared.shares, shared.mean, D, C)
        else:
            parts = B @ V, end.shares, end.mean
    return Components(*parts, end.loss, steps, end.stop_reason)


class Climb(NamedTuple):
    """A state of the search, and how L-BFGS came to it."""

    B: Array  # (k, k)
    shares: Array  # (k,)
    mean: Array  # (d,)
    loss: float = np.inf
    steps: int = 0
    stop_reason: str = ""


def centred(x: Array, shares: Array, mean: Array, D: Any, C: int) -> tuple[Array, Array, Array]:
    """Return images, shares and the mean such that the images have the average 0.

    L knows x + shares · mean only: the part of the mean inside the span may as well be in x.
    The average of the images themselves decides it, taken over the half with the fewest edges.
    """
    images = x + np.outer(shares, mean)
    sizes = np.linalg.norm(images, axis=1)
    images, shares = images / sizes[:, None], shares / sizes
    flat = flatness(images, D, C)
    used = shares * (flat >= np.median(flat))
    mean = used @ images / (used @ shares)
    return images - np.outer(shares, mean), shares, mean


class _Whitened:
    """A span in coordinates in which L-BFGS sees differences of equal variances."""

    def __init__(self, V: Array, D: Any, C: int) -> None:
        edges = D @ V.T  # (C·P, k)
        variances, axes = np.linalg.eigh(edges.T @ edges / len(edges))
        roots = np.sqrt(np.maximum(variances, 1e-12 * variances[-1]))  # a grey image has no edges
        self.whitening, self.inverse = axes / roots @ axes.T, axes * roots @ axes.T  # (k, k)
        self.white = (self.whitening @ V).astype(np.float32)  # (k, d)
        self.V, self.D, self.C = V, D, C

    def extended(self, B: Array, rng: np.random.Generator) -> Array:
        """Return B (j, j) with k - j random components, orthogonal in white coordinates."""
        j, k = len(B), len(self.V)
        white = np.concatenate([B, np.zeros((j, k - j))], axis=1) @ self.inverse  # (j, k)
        new = np.linalg.qr(np.concatenate([white, rng.normal(size=(k - j, k))]).T)[0].T[j:]
        return np.concatenate([white, new]) @ self.whitening

    def climb(self, start: Climb, steps: int, free: slice) -> Climb:
        """Lower L by L-BFGS in the ``free`` ones of all entries of B, shares and mean."""
        k, ends = len(start.B), (start.B.size, start.B.size + len(start.B))

        def value(part: Array) -> tuple[float, Array]:
            whole[free] = part
            B, shares, mean = np.split(whole, ends)
            loss, *slopes = slopes_of_loss(
                B.reshape(k, k), shares, mean, self.white, self.D, self.C
            )
            slopes[2] -= self.V.T @ (self.V @ slopes[2])
            return loss, np.concatenate([slope.ravel() for slope in slopes])[free]

        whole = np.concatenate([(start.B @ self.inverse).ravel(), start.shares, start.mean])
        options = {"maxiter": steps, "maxfun": 10 * steps, "maxcor": 20, "ftol": 1e-9}
        end = scipy.optimize.minimize(
            value, whole[free], jac=True, method="L-BFGS-B", options=options
        )
        whole[free] = end.x
        B, shares, mean = np.split(whole, ends)
        loss = float(end.fun) - float(np.linalg.slogdet(self.whitening)[1])
        B = B.reshape(k, k) @ self.whitening
        return Climb(B, shares, mean, loss, int(end.nit), str(end.message))

    def common_slope(self, B: Array) -> Array:
        """Return the shares (k,) with which a first small mean lowers L most."""
        y = (self.D @ (B @ self.V).T).reshape(self.C, -1, len(B))  # (C, P, k)
        y = y / (1 + np.sum(y * y, axis=0) / TAIL)
        slopes = (self.D.T @ y.reshape(-1, len(B))).T  # of each component in its pixels, (k, d)
        leading = np.linalg.eigh(slopes @ slopes.T)[1][:, -1]
        return leading / np.abs(leading).max()


def flatness(images: Array, D: Any, C: int) -> Array:
    """Return how flat each image (m, d) is beside its edges, in (0, 1]; normal noise has 0.5."""
    y = (D @ images.T).reshape(C, -1, len(images))  # (C, P, m)
    power = np.mean(y * y, axis=0)  # (P, m)
    power /= np.maximum(power.mean(axis=0), 1e-30)
    return np.exp(-power / 2).mean(axis=0)


def ranks(last: int) -> list[int]:
    """Return the growing numbers of directions, which end with ``last``."""
    steps = [min(FIRST_RANK, last)]
    while steps[-1] < last:
        steps.append(min(last, int(GROWTH * steps[-1])))
    return steps


@one_thread()
def _pooled(net: MLP, starts: list[Components], seed: int) -> Reconstruction:
    """Order the components by the agreement of the starts, and average those that are alike."""
    norm = 0.25 * np.sqrt(net.d)  # pixels in [0, 1] have a standard deviation of about a quarter
    x, pictures, fitted, runs = [], [], [], []
    for start in starts:
        sizes = np.linalg.norm(start.images, axis=1, keepdims=True) / norm
        x.append(start.images / sizes)
        pictures.append(x[-1] + start.shares[:, None] / sizes * start.mean)
        multipliers, (_, residual, by_layer) = _explained(net, x[-1])
        fitted.append(multipliers)
        runs.append(Run(start.objective, residual, by_layer, start.steps, start.stop_reason))
    run_index = np.repeat(np.arange(len(x)), [len(images) for images in x])  # (p,)
    x, pictures, fitted = map(np.concatenate, (x, pictures, fitted))  # (p, d), (p, d), (p, 2)

    cosines = x @ x.T / norm**2  # (p, p)
    agreement = np.zeros(len(x))
    for run in range(len(starts)):
        agreement += np.abs(cosines[:, run_index == run]).max(axis=1)
    others = max(len(starts) - 1, 1)
    agreement = np.clip((agreement - 1) / others, 0.0, 1.0)
    first: list[int] = []
    for i in np.argsort(-agreement, kind="stable").tolist():
        if np.abs(cosines[i, first]).max(initial=0.0) < ALIKE:
            first.append(i)
    near = cosines[first]
    alike = np.where(np.abs(near) >= ALIKE, np.sign(near), 0.0)  # (m, p)
    alike /= np.abs(alike).sum(axis=1, keepdims=True)

    def both(images: Array) -> Array:
        """Follow each candidate by its negative."""
        averages = alike @ images
        return np.stack([averages, -averages], axis=1).reshape(-1, net.d)  # (2 m, d)

    candidates = both(x)
    return Reconstruction(
        candidates=candidates,
        labels=predicted_labels(net.outputs(candidates.astype(net.dtype))),
        multipliers=fitted[first].reshape(-1),
        run_index=np.repeat(run_index[first], 2),
        runs=tuple(runs),
        seed=seed,
        agreement=np.repeat(agreement[first], 2),
        pictures=both(pictures),
    )


def _explained(net: MLP, x: Array) -> tuple[Array, Stationarity]:
    """Return the best λ ≥ 0 of the images and their negatives, (k, 2), and the residual."""
    net, both = net.astype(np.float64), np.stack([x, -x], axis=1).reshape(-1, net.d)  # (2 k, d)
    labels = predicted_labels(net.outputs(both))  # (2 k,)
    equation = Equation(net, both, labels, one_multiplier(net.K))
    multipliers = equation.fit()
    return multipliers.reshape(-1, 2), equation.norms(multipliers)
