r"""The paper's attack: its published loss, and the same loss minimised by L-BFGS-B.

    min over x_1..x_m in the box, λ_i ≥ 0   of   ‖θ − Σ_i λ_i y_i ∇θΦ(θ; x_i)‖²

from random starts; for K classes with Σ_j λ_ij (e_{y_i} − e_j) in place of λ_i y_i, and in
regression with λ_i of any sign.  Haim et al. (2022) minimise it by SGD, with penalties in place
of the bounds: :func:`published_loss`.  L-BFGS-B holds the bounds exactly and needs no penalties.
As in the paper, smooth gates σ(αz) replace ReLU's in ∇θΦ.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import scipy

from kkt_ref._parallel import Workers, check_workers, run_all
from kkt_ref._validation import check_box, check_count, check_multipliers, check_positive
from kkt_ref.attacks.base import Callback, Reconstruction, measured_run, one_multiplier
from kkt_ref.kkt.equation import Equation
from kkt_ref.network.activations import GatedReLU
from kkt_ref.network.mlp import MLP, check_mlp
from kkt_ref.network.protocol import check_layer_weights
from kkt_ref.stationarity import problems
from kkt_ref.stationarity.backend import Backend, get_backend
from kkt_ref.stationarity.closed_form import stationarity_and_gradient
from kkt_ref.stationarity.problems import Problem, check_samples, max_margin

Event = tuple[str, int, np.ndarray, np.ndarray]  # the arguments of a callback
STOPPED = 99  # SciPy's status after a StopIteration


class PublishedLoss(NamedTuple):
    """The published loss at one point, and its gradient."""

    value: float
    by_layer: tuple[float, ...]  # ‖θ − (1/m) Σ l_i y_i ∇θΦ(x_i)‖² of each layer
    grad_x: np.ndarray  # (m, d)
    grad_multipliers: np.ndarray  # ∂/∂l_i, (m,)


def published_loss(
    net: MLP, x: np.ndarray, y: np.ndarray, multipliers: np.ndarray, *, lambda_min: float
) -> PublishedLoss:
    """Compute the loss of Haim et al. as they published it, and its gradient.

    ‖θ − (1/m) Σ_i l_i y_i ∇θΦ(x_i)‖² + Σ_i ‖(|x_i| − 1)₊‖² + 5 Σ_i (λ_min − l_i)₊²

    Parameters
    ----------
    net : MLP
        The authors' recipe uses the activation :class:`~kkt_ref.network.AuthorsGatedReLU`.
    x : array of shape (m, d), dtype as the network's
    y : array of shape (m,), entries -1 and +1; for several outputs the classes 0 ... K-1
    multipliers : array of shape (m,), dtype as the network's
        l_i = m λ_i; for several outputs that of the wrong class with the largest output.
    lambda_min : float
        Smaller multipliers are penalised, ≥ 0; the authors draw it from 0.01 to 0.5.

    Notes
    -----
    Source: Haim et al. 2022 (arXiv 2206.07758) and their code; for several outputs Buzaglo et
    al. (NeurIPS 2023).  The gradient is exact, except with the authors' activation, whose
    ``grad_x`` is the gradient of no function.
    """
    check_mlp(net)
    problem = one_multiplier(net.K)
    x, y, problem = check_samples(net, x, y, problem)
    multipliers = check_multipliers(multipliers, (len(y),), net.dtype)
    lambda_min, m = check_positive(lambda_min, "lambda_min", zero=True), len(y)
    terms = stationarity_and_gradient(net, x, y, multipliers / m, problem=problem)
    outside = np.maximum(x - 1.0, 0.0) + np.minimum(x + 1.0, 0.0)  # (m, d)
    missing = np.maximum(lambda_min - multipliers, 0.0)  # (m,)
    value = float(terms.value) + float(np.sum(outside**2)) + 5.0 * float(np.sum(missing**2))
    return PublishedLoss(
        value,
        by_layer=tuple(float(square) for square in terms.by_layer),
        grad_x=terms.grad_x + 2.0 * outside,
        grad_multipliers=terms.grad_multipliers / m - 10.0 * missing,
    )


def gate_alpha(net: MLP, width: float) -> float:
    """Return the α at which the first layer's gates open over about ``width`` in the inputs.

    It is 1 / (width · root mean square of ‖∂z_1/∂x‖ over the neurons).
    """
    check_mlp(net)
    slope = float(np.sqrt(np.mean(np.sum(net.weights[0] ** 2, axis=1))))
    if slope == 0:
        raise ValueError("net: the first layer is zero, so no input reaches the output")
    return 1.0 / (check_positive(width, "width") * slope)


def with_gates(net: MLP, alpha: float) -> MLP:
    """Return the network with gates σ(αz) in ∇θΦ, unless its activation brings its own."""
    if net.activation.own_gates:
        return net
    return net.with_activation(GatedReLU(alpha))


@dataclass(frozen=True, kw_only=True)
class PaperSettings:
    """The settings that :func:`reconstruct_paper` and :func:`refine` share, declared once."""

    box: tuple[float, float] = (-1.0, 1.0)  # bounds of every coordinate
    alpha: float = 100.0  # sharpness of the gates σ(αz)
    layer_weights: Sequence[float] | None = None  # w_l ≥ 0, one a layer; ones unless given
    max_iterations: int = 1000  # of L-BFGS
    backend: str | Backend = "numpy"  # or "cupy": where the loss is evaluated
    problem: Problem | None = None  # two or K classes unless given; RunnerUp() is the published one

    def __post_init__(self) -> None:
        get_backend(self.backend)
        check_box(self.box)
        check_positive(self.alpha, "alpha")
        check_count(self.max_iterations, "max_iterations")

    def relative_weights(self, net: MLP) -> list[float]:
        """Return w_l / Σ_l w_l ‖θ‖²_l, or raise if the descent cannot work on a network."""
        check_mlp(net, "float64")
        weights = check_layer_weights(self.layer_weights, net)
        norms = [float(np.linalg.norm(net.theta[s])) for s in net.layer_slices]
        whole = sum(w * norm**2 for w, norm in zip(weights, norms, strict=True))
        if whole == 0:
            raise ValueError("net: expected a parameter other than 0 in a layer of weight > 0")
        return [w / whole for w in weights]


def reconstruct_paper(
    net: MLP,
    m: int,
    *,
    labels: np.ndarray | None = None,
    start_scale: float = 0.1,
    restarts: int = 1,
    seed: int = 0,
    callback: Callback | None = None,
    workers: Workers = None,
    **settings: Any,
) -> Reconstruction:
    """Reconstruct training data by stationarity alone, from random starts.

    Returned are the candidates of all runs.  The objective is Σ_l w_l ‖r‖²_l / Σ_l w_l ‖θ‖²_l, with
    r the residual with these gates.

    Parameters
    ----------
    net : MLP
        In float64.
    m : int
        Number of candidates, which must exceed that of the training samples (paper: m ≥ 2n).
    labels : array of shape (m,), entries -1 and +1, or classes 0 ... K-1, optional
        All equally often unless given.
    start_scale : float
        Standard deviation of the candidates' start, > 0.
    restarts : int
        Number of runs.
    seed, callback, workers
        As in :func:`kkt_ref.reconstruct`.  The callback's stage is "moved", after each iteration.
        With several runs, it is called for the iterations of a run when that run has ended.
        If it raises StopIteration before, it ends the run.
    **settings
        The fields of :class:`PaperSettings`.

    Notes
    -----
    Source: loss and starts of Haim et al. 2022 (arXiv 2206.07758); L-BFGS-B, exact bounds, layer
    weights and the scale of λ at the start are this library's.  The starts are x from
    N(0, start_scale²), clipped to the box, and λ from U(0, 1) times the factor that makes
    ‖Σ λ_i y_i ∇Φ(x_i)‖ = ‖θ‖.
    """
    checked = PaperSettings(**settings)
    checked.relative_weights(net)
    m, restarts = check_count(m, "m"), check_count(restarts, "restarts")
    seed, workers = check_count(seed, "seed", 0), check_workers(workers)
    start_scale = check_positive(start_scale, "start_scale")
    problem = checked.problem or max_margin(net.K)
    if labels is not None:
        y = problem.check(labels, m, net.K, net.dtype, "labels")
    elif net.K == 1:
        y = np.where(np.arange(m) < m // 2, -1.0, 1.0)  # (m,)
    else:
        y = np.arange(m) % net.K if problem.signed else np.zeros((m, net.K))

    def after(number: int, ended: tuple[Reconstruction, list[Event]]) -> None:
        for stage, _, x, multipliers in ended[1]:
            callback(stage, number, x, multipliers)  # type: ignore[misc]

    live = restarts == 1 and callback is not None
    # a callback is called by this process, and one device serves one process
    here = live or checked.backend != "numpy"
    each = 0.0 if here else 5e-4 + 6e-10 * m * net.theta.size
    ended = run_all(
        partial(_run, net, y, start_scale, seed, checked, callback if live else bool(callback)),
        restarts,
        after,
        workers=None if live else workers,
        seconds=restarts * checked.max_iterations * each,
    )
    runs = [run for run, _ in ended]
    return Reconstruction(
        np.concatenate([one.candidates for one in runs]),
        np.concatenate([one.labels for one in runs]),
        np.concatenate([one.multipliers for one in runs]),
        np.repeat(np.arange(restarts), m),
        tuple(one.runs[0] for one in runs),
        seed,
    )


def _run(
    net: MLP,
    y: np.ndarray,
    start_scale: float,
    seed: int,
    settings: PaperSettings,
    callback: Callback | bool,
    number: int,
) -> tuple[Reconstruction, list[Event]]:
    """Return one run, and its iterations if ``callback`` is True."""
    events: list[Event] = []
    watch = callback if callable(callback) else lambda *event: events.append(event)
    # the generator number r of default_rng(seed).spawn(restarts)
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(number,)))
    x = np.clip(rng.normal(0.0, start_scale, (len(y), net.d)), *settings.box)  # (m, d)
    start = Equation(net, x, y, settings.problem)
    multipliers = rng.uniform(0.0 if start.problem.signed else -1.0, 1.0, start.shape)
    U = problems.coefficients_of(start.directions, multipliers)  # (m, K)
    total = start.evaluation.gradient_sum(U)
    norm = np.sqrt(sum(float(np.sum(g * g)) for g in total))
    if norm > 0:
        multipliers *= float(np.linalg.norm(net.theta)) / norm
    watched = watch if callback else None
    return refine(net, x, y, multipliers, callback=watched, **vars(settings)), events


def refine(
    net: MLP,
    x: np.ndarray,
    y: np.ndarray,
    multipliers: np.ndarray,
    *,
    callback: Callback | None = None,
    **settings: Any,
) -> Reconstruction:
    """Move given candidates and multipliers downhill by L-BFGS-B, and return this one run.

    Parameters
    ----------
    net : MLP
        In float64.
    x : array of shape (m, d)
        The start; clipped to the box.
    y : array of shape (m,), entries -1 and +1, or classes 0 ... K-1
    multipliers : array of shape (m,), or (m, J) for J directions of the problem
        The start; raised to 0, unless the problem allows any sign.
    callback, **settings
        As in :func:`reconstruct_paper`.
    """
    checked = PaperSettings(**settings)
    checked.relative_weights(net)
    start = Equation(net, x, y, checked.problem)
    x, y, problem, multipliers = start.x, start.y, start.problem, start.check(multipliers)
    used = np.isfinite(start.constraints).reshape(start.shape)  # λ of a zero D is fixed at 0
    loss = RelativeLoss(with_gates(net, checked.alpha), y, checked)

    def watch(intermediate_result: Any) -> None:  # the name is SciPy's convention
        if callback is not None:
            moved, lam = loss.unpack(intermediate_result.x)
            callback("moved", 0, moved, lam if lam.ndim == 1 else lam.sum(axis=1))

    limit, least = checked.max_iterations, 0.0 if problem.signed else -np.inf
    x, multipliers = np.clip(x, *checked.box), np.where(used, np.maximum(multipliers, least), 0.0)
    loss.balance(x, multipliers)
    result = scipy.optimize.minimize(
        loss.value_and_gradient,
        loss.pack(x, multipliers),
        jac=True,
        method="L-BFGS-B",
        bounds=[checked.box] * x.size
        + [(least, None) if free else (0.0, 0.0) for free in used.ravel()],
        callback=watch,
        options=dict(maxcor=20, ftol=0.0, gtol=1e-10, maxiter=limit, maxfun=20 * limit),
    )
    x, multipliers = loss.unpack(result.x)
    multipliers = np.where(used, np.maximum(multipliers, least), 0.0)  # scaling may round
    reason = {
        0: "The projected gradient fell below 1e-10.",
        1: f"All {limit} iterations allowed were done.",
        STOPPED: "The callback ended the run.",
    }.get(result.status, "The line search found no lower value: rounding or a kink is in the way.")
    end = dict(objective=float(result.fun), steps=int(result.nit), stop_reason=reason)
    run = measured_run(net, x, y, multipliers, **end, problem=problem)
    mass = multipliers if multipliers.ndim == 1 else multipliers.sum(axis=1)  # (m,)
    return Reconstruction(x, y, mass, np.zeros(len(y), int), (run,), None)


class RelativeLoss:
    """Squared relative residual of stationarity, as a function of one vector.

    [ Σ_l w_l ‖θ − Σ_ic U_ic ∇θΦ_c(x_i)‖²_l ] / Σ_l w_l ‖θ‖²_l

    The vector is NumPy's in float64 and holds x and λ / scale.
    """

    def __init__(self, net: MLP, y: np.ndarray, settings: PaperSettings) -> None:
        self._backend = backend = get_backend(settings.backend)
        self._net, self._y = backend.put_net(net), backend.put(y)
        self._problem = settings.problem or max_margin(net.K)
        directions = self._problem.directions(y, np.zeros((len(y), net.K)))  # (m, J, K)
        self._shape = problems.shape_of(directions)  # of λ
        self._weights = settings.relative_weights(net)
        self.scale = 1.0

    def pack(self, x: np.ndarray, multipliers: np.ndarray) -> np.ndarray:
        """Return the vector (m d + m J,) for candidates (m, d) and multipliers (m,) or (m, J)."""
        return np.concatenate([x.ravel(), multipliers.ravel() / self.scale])

    def unpack(self, vector: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return candidates (m, d) and multipliers (m,) or (m, J), copied out of the vector."""
        x, multipliers = np.split(vector, [self._shape[0] * self._net.d])
        return x.reshape(-1, self._net.d).copy(), multipliers.reshape(self._shape) * self.scale

    def balance(self, x: np.ndarray, multipliers: np.ndarray) -> None:
        """Set the scale at which the gradients in x and in λ have the same mean square."""
        gradient = self.value_and_gradient(self.pack(x, multipliers))[1]
        in_x, in_multipliers = gradient[: x.size], gradient[x.size :] / self.scale
        norms = np.linalg.norm(in_x), max(float(np.linalg.norm(in_multipliers)), 1e-300)
        ratio = norms[0] / norms[1] / np.sqrt(x.shape[1])
        self.scale = float(ratio) if 0 < ratio < np.inf else 1.0

    def value_and_gradient(self, vector: np.ndarray) -> tuple[float, np.ndarray]:
        """Return the loss and its gradient, shapes () and (m d + m J,)."""
        x, multipliers = map(self._backend.put, self.unpack(vector))
        terms = stationarity_and_gradient(
            self._net, x, self._y, multipliers, self._weights, problem=self._problem
        )
        in_x, in_multipliers = map(self._backend.to_host, (terms.grad_x, terms.grad_multipliers))
        gradient = np.concatenate([in_x.ravel(), self.scale * in_multipliers.ravel()])
        return float(terms.value), gradient
