r"""Attacks: training data from the weights of a network, listed in reading order.

    base          the result that all attacks share
    paper         the attack of Haim et al.: stationarity alone, from random starts
    kinks         the kinks of the first layer: how many pass through a point, where they meet
    plane         d = 2, ReLU: all four KKT conditions where kinks meet, convex
    components    images: independent components of the first layer
    first_layer   d > 2: the equation of the first layer, by alternating least squares
    membership    was this sample trained on? scores of given samples, no reconstruction

:func:`reconstruct` chooses the attack that suits the network.
"""

from typing import Any

from kkt_ref._parallel import Workers
from kkt_ref._validation import check_count
from kkt_ref.attacks.base import Callback, Reconstruction
from kkt_ref.attacks.components import STARTS, reconstruct_components
from kkt_ref.attacks.first_layer import reconstruct_first_layer
from kkt_ref.attacks.kinks import BOX, kink_vertices, kinks_at
from kkt_ref.attacks.membership import MultiplierScores, membership_scores, multiplier_scores
from kkt_ref.attacks.paper import gate_alpha, published_loss, reconstruct_paper, refine
from kkt_ref.attacks.plane import reconstruct_plane
from kkt_ref.network.mlp import MLP, check_mlp

__all__ = [
    "MultiplierScores",
    "Reconstruction",
    "gate_alpha",
    "kink_vertices",
    "kinks_at",
    "membership_scores",
    "multiplier_scores",
    "published_loss",
    "reconstruct",
    "reconstruct_components",
    "reconstruct_first_layer",
    "reconstruct_paper",
    "reconstruct_plane",
    "refine",
]


def reconstruct(
    net: MLP,
    *,
    image_shape: tuple[int, int, int] | None = None,
    box: tuple[float, float] | None = None,
    m: int | None = None,
    restarts: int | None = None,
    seed: int = 0,
    callback: Callback | None = None,
    workers: Workers = None,
) -> Reconstruction:
    """Reconstruct training data by the attack that suits the network.

    It is :func:`reconstruct_components` for images, :func:`reconstruct_plane` for ReLU networks
    with d = 2, and :func:`reconstruct_first_layer` for other inputs with d > 2.  Each has arguments
    of its own; call it to set them.  :func:`reconstruct_paper` is the published attack.  An
    argument that the attack cannot use raises a ValueError.

    Parameters
    ----------
    net : MLP
        Trained; with d > 2 inputs it needs two layers or more, else it is in float64.
    image_shape : (channels, height, width), optional
        The inputs are images of this shape.
    box : (float, float), optional
        For d = 2 only: bounds of every coordinate, (-1.5, 1.5) unless given.
    m : int, optional
        For d > 2 without an image shape only: number of candidates in each run.
    restarts : int, optional
        For d > 2 only: number of runs from random starts.
    seed : int
        Seed of the random starts; for d = 2 nothing is drawn.
    callback : callable, optional
        Called as ``callback(stage, run, x, multipliers)`` with copies of the candidates
        (m, d) and multipliers (m,), run by run in the order in which the runs end.
    workers : int or concurrent.futures.Executor, optional
        For d > 2 only: the number of processes that share the runs, by default the number of
        usable cores (one if all runs take under about two seconds), or an executor of another
        engine, such as Dask's ``Client.get_executor()`` or
        ``mpi4py.futures.MPIPoolExecutor()``, which stays open.  The result does not depend on it.
    """
    check_mlp(net)
    runs = dict(seed=seed, callback=callback, workers=workers)
    if image_shape is not None:
        _refuse("on images finds as many directions as the first layer shows", box=box, m=m)
        restarts = STARTS if restarts is None else restarts
        return reconstruct_components(net, image_shape=image_shape, restarts=restarts, **runs)
    if net.d > 2:
        _refuse("finds directions, whose scale it does not know", box=box)
        m = None if m is None else check_count(m, "m")
        return reconstruct_first_layer(net, candidates=m, restarts=restarts, **runs)
    _refuse(
        "in the plane runs once, without random starts", m=m, restarts=restarts, workers=workers
    )
    return reconstruct_plane(net, box=BOX if box is None else box, callback=callback)


def _refuse(why: str, **arguments: Any) -> None:
    for name, value in arguments.items():
        if value is not None:
            raise ValueError(f"{name}: expected None, got {value!r}; the attack {why}")
