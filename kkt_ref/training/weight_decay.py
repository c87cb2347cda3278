r"""An exact stationary point: a loss with weight decay, by L-BFGS.

For every loss, network and activation, the training data of such a network solve the reconstruction
problem exactly (:mod:`kkt_ref.kkt.weight_decay`).
"""

from typing import Any

import numpy as np
import scipy

from kkt_ref._parallel import one_thread
from kkt_ref._validation import check_count, check_every_class, check_positive, check_separable
from kkt_ref.network.activations import AuthorsGatedReLU, GatedReLU
from kkt_ref.network.protocol import Network, check_net
from kkt_ref.stationarity.evaluation import evaluate
from kkt_ref.stationarity.losses import loss_by_name, soft_margins
from kkt_ref.stationarity.problems import WeightDecay, check_samples
from kkt_ref.training.descent import History, TrainResult, make_record


@one_thread()  # SciPy's L-BFGS and NumPy would wait for each other's threads
def weight_decay_optimum(
    net: Network,
    x: np.ndarray,
    y: np.ndarray,
    *,
    loss: str | None = None,
    decay: float = 1e-3,
    tolerance: float = 1e-8,
    max_iterations: int = 20_000,
) -> TrainResult:
    """Train to a stationary point of the mean loss plus (decay/2)‖θ‖², as PyTorch counts both.

    Parameters
    ----------
    net : MLP, or a network of your own
        The start, in float64; softplus converges, ReLU may stall with samples on its kinks.
    x, y, loss
        As in :func:`kkt_ref.kkt.weight_decay_stationarity`.  Unless given, the loss is "logistic"
        for one output and "cross_entropy" for several.
    decay : float, μ > 0
    tolerance : float, > 0
        The relative residual of stationarity at which training ends; in the history it is measured
        with the result's multipliers, which are the exact ones.
    max_iterations : int
    """
    check_net(net, "float64")
    problem = WeightDecay(loss_by_name(loss or ("logistic" if net.K == 1 else "cross_entropy")))
    x, y, _ = check_samples(net, x, y, problem)
    classes = problem.loss.name in ("logistic", "cross_entropy")
    if classes:
        check_separable(x, y)
        check_every_class(y, net.K)
    decay, tolerance = check_positive(decay, "decay"), check_positive(tolerance, "tolerance")
    max_iterations = check_count(max_iterations, "max_iterations")
    if isinstance(getattr(net, "activation", None), (GatedReLU, AuthorsGatedReLU)):
        raise ValueError(
            "net: the gated activation has no gradient in θ to descend; train with "
            "ReLU or Softplus and reconstruct with the gates"
        )
    history, n = History(), len(x)
    last: tuple[Any, Any] = None, None  # θ and what is known there: each θ is asked for twice

    def evaluated(theta: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        nonlocal last
        if not np.array_equal(theta, last[0]):
            here = evaluate(net.with_theta(theta), x)
            pull = here.gradient_sum(problem.loss.pull(here.outputs, y) / n)
            flat = np.concatenate([g.ravel() for g in pull])  # (P,)
            mean = float(np.mean(problem.loss.value(here.outputs, y)))
            last = theta.copy(), (mean, theta - flat / decay, here.outputs)
        return last[1]

    def objective(theta: np.ndarray) -> tuple[float, np.ndarray]:
        mean, residual, _ = evaluated(theta)
        return mean + 0.5 * decay * float(theta @ theta), decay * residual

    def record(theta: np.ndarray) -> float:
        mean, residual, outputs = evaluated(theta)
        u = soft_margins(y, outputs)[0] if classes else np.zeros(1)
        log_loss = float(np.log(max(mean, 1e-300)))
        history.records.append(make_record(len(history.records), log_loss, u, theta, residual))
        return history.records[-1].residual

    def watch(intermediate_result: Any) -> None:  # the name is SciPy's convention
        if record(intermediate_result.x) <= tolerance:
            raise StopIteration

    record(net.theta)
    options: dict[str, Any] = dict(maxcor=30, ftol=0.0, gtol=0.0, maxls=50)
    options |= dict(maxiter=max_iterations, maxfun=20 * max_iterations)
    result = scipy.optimize.minimize(
        objective, net.theta, jac=True, method="L-BFGS-B", options=options, callback=watch
    )
    residual = history.records[-1].residual
    converged = residual <= tolerance
    if converged:
        end = f"The tolerance {tolerance:g} was reached"
    elif result.nit >= max_iterations:
        end = f"All {max_iterations} iterations were done"
    else:
        end = "The line search found no lower value, because of rounding or a kink"
    reason = f"{end}; the relative residual is {residual:.1e}."
    trained = net.with_theta(result.x)
    multipliers = problem.multipliers(y, evaluate(trained, x).outputs) / decay
    return TrainResult(trained, multipliers, history, int(result.nit), reason, converged)
