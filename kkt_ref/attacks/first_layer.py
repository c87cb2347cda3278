r"""The attack on inputs that are not images: alternating least squares on the first layer.

**The equation.**  Let δ(x), the signal of x, be the gradient of Φ(x) by the preactivations of
layer 1.  In the first layer, stationarity reads  W₁ = Σ_i λ_i y_i δ(x_i) x_iᵀ  and
b₁ = Σ_i λ_i y_i δ(x_i).  On a trained network this holds up to noise: W₁ still contains its
initialisation, and the signals changed during training.  Measured on training data, the noise
along a singular direction of W₁ = U diag(s) Vᵀ is proportional to s_j, down to about a tenth of
the largest.  A few directions that all samples share hold nine tenths of ‖W₁‖², so wrong candidates
fit them as well as right ones.  The residual R is therefore whitened, with ν = 0.1 (for several
outputs 0.3):

    U diag(s² + (ν s_1)²)^(-1/2) Uᵀ  R  V diag(s² + (ν s_1)²)^(-1/2).

On the left, s_j below a tenth of the noise count as 0.  The leading columns of V span the samples,
so k coordinates a describe a candidate x = V a.

With K outputs, y_i δ(x_i) is the gradient of Φ_{y_i} less the mean of the other outputs: early in
training all wrong classes are pushed away alike, and W₁ contains the sum of the whole training.

**One run.**  With fixed signals the equation is linear in all candidates; with fixed candidates,
the best λ is a non-negative least squares problem.  A step computes the signals of the present
candidates and fits λ, and solves (ΔΔᵀ + ρ)·step = Δ R, where row i of Δ is λ_i y_i δ(x_i).  It is
accepted if it lowers the residual with the signals of the new candidates; otherwise a larger
damping ρ is tried (Levenberg's rule).  The mirror image −x of a sample with the opposite signal
fits nearly as well, and small steps do not lead from −x to x.  Every third step up to the fifteenth
therefore compares the signal that the equation asks of a candidate with δ(x) and −δ(−x), and turns
x to −x if that is closer.

**The answer.**  One run finds a few samples among many candidates that merely fit.  A real sample
is found again by other runs, an accidental candidate is not.  Candidates are therefore sorted by
agreement: the largest |cosine| with a candidate of another run and of the same class, in whitened
coordinates, in which different samples are nearly orthogonal.  The samples that are found most
easily are found by most runs; of each only eight candidates are kept, so that there is room for
others.  λδ(x)xᵀ is unchanged if x and δ(x) change sign, so each candidate is returned with both
signs.

Names of dimensions: m candidates, d inputs, h neurons of layer 1, k coordinates, K outputs.
"""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from kkt_ref._parallel import Workers, check_workers, one_thread, run_all
from kkt_ref._validation import check_count
from kkt_ref.attacks.base import Callback, Reconstruction, measured_run, predicted_labels
from kkt_ref.attacks.paper import with_gates
from kkt_ref.kkt.multipliers import solve_nnls_gram
from kkt_ref.network.mlp import MLP, check_mlp
from kkt_ref.stationarity import closed_form

Array = np.ndarray
_SHARPNESS = 30.0  # α of the gates σ(αz), times the typical |z_1|: signals are smooth in x
_TURNING_STEPS = range(3, 16, 3)
_STEPS = 20
_TRIALS = 4  # values of the damping ρ that one step tries
_LARGEST_DAMPING = 1e6  # steps are then as short as the rounding of float32


class Atoms(NamedTuple):
    """What each of m candidates adds to the right side of the equation, divided by λ_i."""

    signals: Array  # y_i δ(x_i), whitened on the left, (m, h)
    inputs: Array  # (x_i, 1) in whitened coordinates, (m, k + 1)
    labels: Array  # y_i = sign Φ(x_i), or for K outputs the class i mod K, (m,)


class FirstLayer:
    """The whitened first-layer equation of a network of at least two layers, in float32."""

    @one_thread()
    def __init__(self, net: MLP) -> None:
        check_mlp(net)
        if net.depth < 2:
            raise ValueError("net: expected at least two layers; with one, every sample has δ = 1")
        self.net = net
        # with several outputs the signals are less exact
        noise, self.default_restarts = (0.1, 16) if net.K == 1 else (0.3, 24)
        net = net.astype(np.float64)
        size = np.linalg.norm(net.weights[0])
        if size < 1e-30:
            raise ValueError("net: the first layer is zero in float32, so it holds no data")
        self.unit = 2.0 ** np.floor(np.log2(size))  # in which squares of W_1 fit into float32
        W = net.weights[0] / self.unit
        U, s, Vt = np.linalg.svd(W, full_matrices=False)
        self.k = k = int(np.sum(s > 0.01 * s[0]))
        # Measured to be enough: some candidates of a run must be near every sample of every class.
        self.default_candidates = min((3 if net.K == 1 else 5) * k, 1000)  # a run holds m² numbers
        self._flat = np.float32(1 / (noise * s[0]))
        kept = s > 0.1 * noise * s[0]
        U, inverse = U[:, kept], (s[kept] ** 2 + (noise * s[0]) ** 2) ** -0.5
        self._left = U.astype(np.float32)  # (h, r)
        self._left_weights = (inverse - self._flat).astype(np.float32)  # (r,)
        self.basis = Vt[:k].astype(np.float32)  # (k, d), orthonormal rows: x = a @ basis
        self.weights = np.float32((s[:k] ** 2 + (noise * s[0]) ** 2) ** -0.5)  # (k,), of a
        # The equation leaves the scale of x almost free, so all candidates get one norm; pixels
        # in [0, 1] have a standard deviation of about a quarter.
        self.norm = 0.25 * np.sqrt(net.d)

        # the same network as a function of coordinates a, where x = a @ basis
        reduced = MLP((self.unit * W @ Vt[:k].T, *net.weights[1:]), net.biases, net.activation)
        z = self.norm / np.sqrt(k) * np.linalg.norm(reduced.weights[0], axis=1)  # (h,)
        self._net = with_gates(reduced, _SHARPNESS / np.sqrt(np.mean(z**2))).astype(np.float32)
        b = np.zeros(len(W)) if net.biases[0] is None else net.biases[0] / self.unit
        bias_weight = 0.0 if not b.any() else (b @ b + (noise * s[0]) ** 2) ** -0.5
        self._bias_weight = np.float32(bias_weight)
        target = np.column_stack([W @ Vt[:k].T * self.weights, b * bias_weight])  # (h, k + 1)
        # whitened on both sides, (h, k + 1), and on the left only, (h,)
        self.target = self._whitened_left(target.astype(np.float32).T).T
        self.bias = self._whitened_left(b.astype(np.float32))

    def normalised(self, a: Array) -> Array:
        """Return coordinates (m, k) scaled so that every candidate has the common norm."""
        lengths = np.linalg.norm(a, axis=1, keepdims=True)
        return (a * (self.norm / np.maximum(lengths, 1e-12))).astype(np.float32)

    def _whitened_left(self, signals: Array) -> Array:
        """Return signals (..., h) in units of the noise of the neurons."""
        along = (signals @ self._left) * self._left_weights  # (..., r)
        return signals * self._flat + along @ self._left.T

    def whitened(self, a: Array) -> Array:
        """Return whitened unit coordinates (m, k), nearly orthogonal for different samples."""
        directions = a * self.weights
        return directions / np.maximum(np.linalg.norm(directions, axis=1, keepdims=True), 1e-12)

    def inputs(self, a: Array) -> Array:
        """Return the candidates x, shape (m, d) and float64, that have coordinates (m, k)."""
        return a.astype(np.float64) @ self.basis.astype(np.float64)  # (m, d)

    def shared(self, multipliers: Array) -> Array:
        """Return λ_i (m,) for one output, or its equal shares among the wrong classes, (m, K)."""
        if self.net.K == 1:
            return multipliers
        pull = pull_of_class(np.arange(len(multipliers)) % self.net.K, self.net.K)
        return multipliers[:, None] * np.maximum(-pull, 0.0)

    def atoms(self, a: Array) -> Atoms:
        """Return what the candidates with coordinates (m, k) add to the equation."""
        trace, K = closed_form.forward(self._net, a), self.net.K
        labels = predicted_labels(trace.preactivations[-1]) if K == 1 else np.arange(len(a)) % K
        pull, labels = pull_of_class(labels, K).astype(np.float32), labels.astype(np.float32)
        signals = self._whitened_left(closed_form.backward(trace, pull).deltas[0])
        bias = np.full((len(a), 1), self._bias_weight)
        return Atoms(signals, np.hstack([a * self.weights, bias]), labels)

    def fit(self, atoms: Atoms) -> tuple[Array, float]:
        """Return the best λ ≥ 0, (m,) in float32, and the squared relative residual."""
        gram = (atoms.signals @ atoms.signals.T) * (atoms.inputs @ atoms.inputs.T)  # (m, m)
        toward = np.sum((atoms.signals @ self.target) * atoms.inputs, axis=1)  # (m,)
        multipliers = solve_nnls_gram(gram, toward).astype(np.float32)
        whole = float(np.sum(self.target**2))
        loss = (whole - 2 * multipliers @ toward + multipliers @ (gram @ multipliers)) / whole
        return multipliers, max(float(loss), 0.0)


def pull_of_class(y: Array, K: int) -> Array:
    """Return 1 for the class of each sample and −1/(K−1) for the others, (m, K), for y (m,).

    For one output it is the label y.
    """
    if K == 1:
        return y[:, None]
    own = np.eye(K)[y]
    return own - (1 - own) / (K - 1)


class Alternation(NamedTuple):
    """How one run of the alternation ended."""

    coordinates: Array  # of the candidates, (m, k), float32
    labels: Array  # (m,), float32
    multipliers: Array  # (m,), float32
    residual: float  # relative and whitened, with smoothed gates, in [0, 1]
    steps: int  # accepted ones
    stop_reason: str


class _State(NamedTuple):
    a: Array  # (m, k)
    atoms: Atoms
    multipliers: Array  # (m,)
    loss: float  # squared relative whitened residual


def alternate(problem: FirstLayer, a: Array, *, steps: int = _STEPS) -> Alternation:
    """Run at most ``steps`` steps from coordinates (m, k), which are first scaled in norm."""
    several = problem.net.K > 1
    damping = first = 0.1 if several else 0.01
    state, accepted = _state(problem, problem.normalised(a)), 0
    reason = f"All {steps} steps were tried."
    for step in range(steps):
        if step in _TURNING_STEPS:
            state = _turn_over(problem, state)
            damping = damping if several else first
        better, damping = _step(problem, state, damping)
        if better is not None:
            state, accepted = better, accepted + 1
        elif step >= _TURNING_STEPS[-1]:  # before that, turning candidates over may help
            reason = "No trial step lowered the residual."
            break
    multipliers, residual = state.multipliers * np.float32(problem.unit), float(np.sqrt(state.loss))
    return Alternation(state.a, state.atoms.labels, multipliers, residual, accepted, reason)


def _state(problem: FirstLayer, a: Array) -> _State:
    atoms = problem.atoms(a)
    return _State(a, atoms, *problem.fit(atoms))


def _step(problem: FirstLayer, state: _State, damping: float) -> tuple[_State | None, float]:
    """Return the better state if a trial found one, and the next damping."""
    delta = state.multipliers[:, None] * state.atoms.signals  # Δ, (m, h)
    residual = problem.target - delta.T @ state.atoms.inputs  # R, (h, k + 1)
    normal = delta @ delta.T  # (m, m)
    right = (delta @ residual[:, :-1]) / problem.weights  # (m, k)
    scale = max(float(np.trace(normal)) / len(normal), 1e-30)  # all λ may be 0
    identity = np.eye(len(normal), dtype=np.float32)
    for _ in range(_TRIALS):
        damped = normal + np.float32(damping * scale) * identity
        new = _state(problem, problem.normalised(state.a + np.linalg.solve(damped, right)))
        if new.loss < state.loss:
            return new, max(damping / 3, 1e-6)
        damping = min(5 * damping, _LARGEST_DAMPING)
    return None, damping


def _turn_over(problem: FirstLayer, state: _State) -> _State:
    """Replace candidates by their mirror images where those agree better with the equation."""
    lengths = np.linalg.norm(state.a * problem.weights, axis=1, keepdims=True)
    inputs = problem.whitened(state.a)  # (m, k)
    gram = inputs @ inputs.T + np.float32(1e-3) * np.eye(len(inputs), dtype=np.float32)
    asked = np.linalg.solve(gram, inputs @ problem.target[:, :-1].T) / lengths  # (m, h)
    # centred samples do not determine the mean of all signals; their sum is the bias
    mean = problem.bias / len(inputs)  # (h,)
    mirrored = problem.atoms(-state.a).signals  # (m, h)
    turned = _cosines(mean - asked, mirrored) > _cosines(asked + mean, state.atoms.signals)
    return _state(problem, np.where(turned[:, None], -state.a, state.a))


def _cosines(a: Array, b: Array) -> Array:
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return np.sum(a * b, axis=1) / np.maximum(lengths, 1e-30)


def reconstruct_first_layer(
    net: MLP,
    *,
    candidates: int | None = None,
    seed: int = 0,
    restarts: int | None = None,
    callback: Callback | None = None,
    workers: Workers = None,
) -> Reconstruction:
    """Reconstruct training data from the first layer, by alternating least squares.

    The attack is this library's; the paper optimises all layers in pixels.  A ValueError is raised
    if the first layer is zero, or its signals overflow in float32.

    Parameters
    ----------
    net : MLP
        Trained; at least two layers.
    candidates, seed, restarts, callback, workers
        As in :func:`kkt_ref.reconstruct`, where ``candidates`` is m.  By default a run has three
        times as many candidates as the first layer shows coordinates, or five times for several
        outputs, and there are 16 runs, or 24; there must be two, and more find more samples.  The
        callback's stage is "alternation", after each run.

    Returns
    -------
    Reconstruction
        The 8 m candidates with the best agreement between runs, best first; each is followed
        by its negative.  Both have the multiplier that the candidate had in its run.
    """
    problem = FirstLayer(net)
    m = problem.default_candidates if candidates is None else candidates
    restarts = problem.default_restarts if restarts is None else restarts
    m, restarts = check_count(m, "candidates"), check_count(restarts, "restarts", 2)
    seed, workers = check_count(seed, "seed", 0), check_workers(workers)

    def after(number: int, run: Alternation) -> None:
        if callback is not None:
            x, multipliers = problem.inputs(run.coordinates), run.multipliers.astype(np.float64)
            callback("alternation", number, x, multipliers)

    products = m * (net.theta.size + m * len(problem.target))
    runs = run_all(
        partial(_run, problem, (m, problem.k), seed),
        restarts,
        after,
        workers=workers,
        seconds=restarts * 5e-9 * products,
    )
    return _pooled(problem, runs, seed)


def _run(problem: FirstLayer, shape: tuple[int, int], seed: int, number: int) -> Alternation:
    return alternate(problem, np.random.default_rng([seed, number]).normal(size=shape))


@one_thread()
def _pooled(problem: FirstLayer, runs: Sequence[Alternation], seed: int) -> Reconstruction:
    """Keep the 8 m candidates of the runs with which other runs agree most.

    Each ``Run`` of the result measures all candidates of that run, before any is dropped.
    """
    in_use = np.concatenate([run.multipliers for run in runs]) > 0  # (runs m,)
    coordinates = np.concatenate([run.coordinates for run in runs])[in_use]  # (p, k)
    multipliers = np.concatenate([run.multipliers for run in runs])[in_use]  # (p,)
    m = len(runs[0].multipliers)
    run_index = np.repeat(np.arange(len(runs)), m)[in_use]  # (p,)
    labels = np.concatenate([run.labels for run in runs])[in_use].astype(np.float64)  # (p,)
    classes = labels if problem.net.K > 1 else 0.0 * labels  # the label ±1 follows the sign of x
    units = problem.whitened(coordinates)  # (p, k)
    agreement = agreements(units, run_index, classes)  # (p,)
    ranked = np.argsort(-agreement, kind="stable")
    order = ranked[in_variety(units[ranked], classes[ranked], 8 * m)]

    measured = tuple(
        measured_run(
            problem.net,
            problem.inputs(run.coordinates),
            run.labels,
            problem.shared(run.multipliers),
            objective=run.residual**2,
            steps=run.steps,
            stop_reason=run.stop_reason,
        )
        for run in runs
    )
    a, twice = coordinates[order], np.repeat(order, 2)
    both = np.stack([a, -a], axis=1).reshape(-1, problem.k)  # (16 m, k)
    return Reconstruction(
        problem.inputs(both),
        labels[twice] if problem.net.K > 1 else problem.atoms(both).labels.astype(np.float64),
        multipliers[twice].astype(np.float64),
        run_index[twice],
        measured,
        seed,
        agreement[twice].astype(np.float64),
    )


def agreements(units: Array, run_index: Array, classes: Array) -> Array:
    """Return the largest |cosine| of each unit vector (p, k) with one of another run, or 0.

    Only vectors of equal ``classes`` (p,) are compared.
    """
    best = np.zeros(len(units), units.dtype)
    for run, label in sorted(set(zip(run_index.tolist(), classes.tolist(), strict=True))):
        mine = (run_index == run) & (classes == label)
        others = (run_index != run) & (classes == label)
        cosines = np.abs(units[mine] @ units[others].T)  # (its candidates, all others)
        best[mine] = cosines.max(axis=1, initial=0.0)
    return np.minimum(best, 1.0)


def in_variety(
    units: Array, classes: Array, most: int, copies: int = 8, alike: float = 0.8
) -> Array:
    """Return the indices, rising, of at most ``most`` unit vectors (p, k), first ones preferred.

    A vector is left out if so many ``copies`` before it, of the same class (p,), have a |cosine| of
    ``alike`` or more with it.
    """
    kept: list[int] = []
    before = {label: (np.zeros_like(units), 0) for label in np.unique(classes).tolist()}
    for i, (unit, label) in enumerate(zip(units, classes.tolist(), strict=True)):
        same, count = before[label]
        if len(kept) < most and np.sum(np.abs(same[:count] @ unit) >= alike) < copies:
            same[count] = unit
            before[label] = same, count + 1
            kept.append(i)
    return np.array(kept, int)


def distinct(candidates: Array) -> Array:
    """Return at most 100 candidates (p, d) of (m, d), with |cosine| < 0.7 to all earlier ones."""
    units = candidates / np.linalg.norm(candidates, axis=1, keepdims=True)
    return candidates[in_variety(units, np.zeros(len(units)), 100, copies=1, alike=0.7)]
