r"""Attacks: training data from the weights of a network, listed in reading order.

    base          the result that all attacks share
    paper         the attack of Haim et al.: stationarity alone, from random starts
    kinks         the kinks of the first layer: how many pass through a point, where they meet
    grid          d ≤ 3: all four KKT conditions on a grid, convex; the search for the margin
    plane         d = 2, ReLU: all four KKT conditions where kinks meet, convex
    components    images: independent components of the first layer
    first_layer   d > 2: the equation of the first layer, whitened
    alternating   its solution from one start
    restarts      many such runs, which can be saved and resumed
    pooling       the runs combined into one answer
    membership    was this sample trained on? a score of given samples, no reconstruction
    multiplier_membership  the same for any network, by the multipliers of given samples
    baselines     what an attack is compared with

:func:`reconstruct` chooses the attack that suits the network.
"""

from kkt_ref._parallel import Workers
from kkt_ref._validation import check_count
from kkt_ref.attacks.base import Callback, Reconstruction
from kkt_ref.attacks.components import STARTS, reconstruct_components
from kkt_ref.attacks.grid import reconstruct_on_grid
from kkt_ref.attacks.kinks import BOX, kink_vertices, kinks_at
from kkt_ref.attacks.membership import membership_scores
from kkt_ref.attacks.multiplier_membership import MultiplierScores, multiplier_scores
from kkt_ref.attacks.paper import gate_alpha, published_loss, reconstruct_paper, refine
from kkt_ref.attacks.plane import reconstruct_plane
from kkt_ref.attacks.pooling import reconstruct_first_layer
from kkt_ref.network.activations import ReLU
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
    "reconstruct_on_grid",
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

    It is :func:`reconstruct_components` for images, :func:`reconstruct_first_layer` for other
    inputs with d > 2, :func:`reconstruct_plane` for ReLU networks with d = 2, and
    :func:`reconstruct_on_grid` for other networks with d ≤ 2.  Each has arguments of its own; call
    it to set them.  :func:`reconstruct_paper` is the published attack.

    Parameters
    ----------
    net : MLP
        Trained; with d > 2 inputs it needs two layers or more, else it is in float64.
    image_shape : (channels, height, width), optional
        The inputs are images of this shape.
    box : (float, float), optional
        For d ≤ 2 only: bounds of every coordinate, (-1.5, 1.5) unless given.
    m : int, optional
        For d > 2 without an image shape only: number of candidates in each run.
    restarts : int, optional
        For d > 2 only: number of runs from random starts.
    seed : int
        Seed of the random starts; for d ≤ 2 nothing is drawn.
    callback : callable, optional
        Called as ``callback(stage, run, x, multipliers)`` with copies of the candidates
        (m, d) and multipliers (m,), run by run in the order in which the runs end.
    workers : int or concurrent.futures.Executor, optional
        For d > 2 only: the number of processes that share the runs, by default the number of
        usable cores (one if all runs take under about two seconds), or an executor of another
        engine, such as Dask's ``Client.get_executor()`` or
        ``mpi4py.futures.MPIPoolExecutor()``, which stays open.  The result does not depend on it.

    Returns
    -------
    Reconstruction

    Raises
    ------
    ValueError
        If no margin is found in the box (d ≤ 2), or an argument is given that the attack cannot
        use.
    """
    check_mlp(net)
    if image_shape is not None:
        for name, value in {"box": box, "m": m}.items():
            if value is not None:
                raise ValueError(
                    f"{name}: expected None, got {value!r}; the attack on images finds as many "
                    "directions as the first layer shows, and not their size"
                )
        restarts = STARTS if restarts is None else restarts
        return reconstruct_components(
            net,
            image_shape=image_shape,
            restarts=restarts,
            seed=seed,
            callback=callback,
            workers=workers,
        )
    if net.d > 2:
        if box is not None:
            raise ValueError(
                f"box: expected None, got {box!r}; the attack on {net.d} inputs finds directions, "
                "whose scale it does not know"
            )
        m = None if m is None else check_count(m, "m")
        return reconstruct_first_layer(
            net, candidates=m, restarts=restarts, seed=seed, callback=callback, workers=workers
        )
    for name, value in {"m": m, "restarts": restarts, "workers": workers}.items():
        if value is not None:
            raise ValueError(
                f"{name}: expected None, got {value!r}; the convex attacks for one or two inputs "
                "run once, without random starts"
            )
    box = BOX if box is None else box
    if net.d == 2 and isinstance(net.activation, ReLU):
        return reconstruct_plane(net, box=box, callback=callback)
    return reconstruct_on_grid(net, box=box, callback=callback)
