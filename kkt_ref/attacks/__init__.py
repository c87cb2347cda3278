r"""Attacks: training data from the weights of a network, listed in reading order.

    base          the signature and the result that all attacks share
    haim          the attack of Haim et al.: stationarity alone, from random starts
                  (haim_loss: the published loss, and the one minimised here)
    kinks         the kinks of the first layer: how many pass through a point, where they meet
    plane         d = 2, ReLU: all four KKT conditions where kinks meet, convex
    grid          d ≤ 3: all four KKT conditions on a grid, convex; the search for the margin
    first_layer   d > 2: the equation of the first layer, whitened
    alternating   its solution from one start
    restarts      many such runs, which can be saved and resumed
    pooling       the runs combined into one answer
    features      CNN with one convolution: sparse features in the span of the dense layer's rows
    membership    was this sample trained on? a score of given samples, no reconstruction
    baselines     what an attack is compared with

:func:`reconstruct` chooses the attack that suits the network.
"""

from kkt_ref._parallel import Workers
from kkt_ref.attacks.base import Attack, Callback, Reconstruction
from kkt_ref.attacks.grid import reconstruct_on_grid
from kkt_ref.attacks.haim import reconstruct_paper, refine
from kkt_ref.attacks.haim_loss import gate_alpha, published_loss
from kkt_ref.attacks.kinks import kink_vertices, kinks_at
from kkt_ref.attacks.membership import membership_scores
from kkt_ref.attacks.plane import reconstruct_plane
from kkt_ref.attacks.pooling import reconstruct_first_layer
from kkt_ref.network.activations import ReLU
from kkt_ref.network.mlp import MLP, check_mlp

__all__ = [
    "Attack",
    "Reconstruction",
    "gate_alpha",
    "kink_vertices",
    "kinks_at",
    "membership_scores",
    "published_loss",
    "reconstruct",
    "reconstruct_first_layer",
    "reconstruct_on_grid",
    "reconstruct_plane",
    "reconstruct_paper",
    "refine",
]

ATTACKS: dict[str, Attack] = {
    "kinks": reconstruct_plane,
    "grid": reconstruct_on_grid,
    "first-layer": reconstruct_first_layer,
    "paper": reconstruct_paper,
}


def reconstruct(
    net: MLP,
    *,
    method: str = "recommended",
    candidates: int | None = None,
    box: tuple[float, float] | None = None,
    seed: int = 0,
    restarts: int | None = None,
    callback: Callback | None = None,
    workers: Workers = None,
) -> Reconstruction:
    """Reconstruct training data from the weights of a network.

    Each attack has keywords of its own; call its function to set them.

    Parameters
    ----------
    net : MLP
        Trained; with d > 2 inputs it needs two layers or more.
    method : {"recommended", "kinks", "grid", "first-layer", "paper"}
        The recommended attack is "kinks" for ReLU networks with d = 2, "grid" for other
        networks with d ≤ 2, and "first-layer" for d > 2.
    candidates : int, optional
        Number of candidates in each run.  "paper" needs it; "kinks" and "grid" refuse it.
    box : (float, float), optional
        Bounds of every coordinate; "first-layer" refuses it.
    seed : int
        Seed of the random starts; "kinks" and "grid" draw nothing.
    restarts : int, optional
        Number of runs from random starts; "kinks" and "grid" refuse it.
    callback : callable, optional
        Called as ``callback(stage, run, x, multipliers)`` with copies of the candidates
        (m, d) and multipliers (m,), run by run in the order in which the runs end.
    workers : int or concurrent.futures.Executor, optional
        The number of processes that share the runs, by default the number of usable cores (one
        if all runs take under about two seconds), or an executor of another engine, such as
        Dask's ``Client.get_executor()`` or ``mpi4py.futures.MPIPoolExecutor()``, which stays
        open.  The result does not depend on it.  "kinks" and "grid" refuse it.

    Returns
    -------
    Reconstruction

    Raises
    ------
    ValueError
        If the method is unknown, an argument is out of range or refused by the method,
        or (for d ≤ 2) no margin is found in the box.
    TypeError
        If ``net`` is not an MLP, or not in float64 ("first-layer" allows float32), or ``workers``
        is neither a number nor an executor.
    """
    check_mlp(net)
    names = ("recommended", *ATTACKS)
    if method not in names:
        raise ValueError(f"method: expected one of {', '.join(names)}, got {method!r}")
    if method == "recommended":
        method = "first-layer" if net.d > 2 else "grid"
        if net.d == 2 and isinstance(net.activation, ReLU):
            method = "kinks"
    return ATTACKS[method](
        net,
        candidates=candidates,
        box=box,
        seed=seed,
        restarts=restarts,
        callback=callback,
        workers=workers,
    )
