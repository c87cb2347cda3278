"""The attack of an audit, with the library's own defaults."""

from typing import Any

import numpy as np

from kkt_ref._parallel import one_thread
from kkt_ref._validation import Shape, check_box, check_count
from kkt_ref.attacks import reconstruct, reconstruct_first_layer
from kkt_ref.attacks.base import Callback, Reconstruction
from kkt_ref.attacks.components import STARTS, span_of_images
from kkt_ref.attacks.first_layer import FirstLayer
from kkt_ref.attacks.kinks import BOX
from kkt_ref.network.mlp import MLP
from kkt_ref.network.protocol import Network, check_net


def attack_settings(
    net: MLP,
    image_shape: Shape | None,
    candidates: int | None,
    restarts: int | None,
    seed: int,
    box: tuple[float, float] | None,
) -> dict[str, Any]:
    """Return the arguments of the attack that suits a network, with its defaults; or raise.

    Images are attacked by their independent components, unless the first layer hides them or a
    number of candidates asks for the alternation.
    """
    if net.d == 1:
        raise ValueError("net: expected at least two inputs, got one; no attack is known for that")
    images = image_shape and candidates is None and _shows_images(net, image_shape)
    useless = {"box": box} if net.d > 2 else {"candidates": candidates, "restarts": restarts}
    for name, value in useless.items():
        if value is not None:
            raise ValueError(f"{name}: expected None, the attack on {net.d} inputs has none")
    if net.d > 2:
        with np.errstate(over="ignore"):
            check_net(net.astype(np.float32))  # the attacks work in single precision
        if images:
            return {
                "image_shape": image_shape,
                "restarts": check_count(STARTS if restarts is None else restarts, "restarts"),
                "seed": check_count(seed, "seed", 0),
            }
        problem = FirstLayer(net)
        m = problem.default_candidates if candidates is None else candidates
        starts = problem.default_restarts if restarts is None else restarts
        return {
            "candidates": check_count(m, "candidates"),
            "restarts": check_count(starts, "restarts", 2),
            "seed": check_count(seed, "seed", 0),
        }
    return {"box": check_box(BOX if box is None else box)}


def _shows_images(net: MLP, image_shape: Shape) -> bool:
    """Say whether the first layer stands out of its start, and an image has rows and columns."""
    try:
        return min(image_shape[1:]) > 2 and bool(len(span_of_images(net.weights[0])))
    except ValueError:
        return False


def attack(
    net: Network, settings: dict[str, Any], callback: Callback | None
) -> tuple[Reconstruction, str]:
    """Reconstruct training data; the second result says why, if there is no candidate."""
    failure = "reconstruction is known for MLPs only"
    if "image_shape" in settings:
        return reconstruct(net, **settings, callback=callback), ""
    if "restarts" in settings:
        with np.errstate(all="ignore"):  # the solver of the multipliers refuses what overflows
            found = reconstruct_first_layer(net, **settings, callback=callback)
        return found, "" if len(found.labels) else "no candidate has a multiplier > 0 in any start"
    if isinstance(net, MLP):
        try:
            with one_thread():
                return reconstruct(net.astype(np.float64), **settings, callback=callback), ""
        except ValueError as error:  # a result and no misuse, since all arguments were checked
            failure = str(error)
    empty, index = np.zeros(0), np.zeros(0, int)
    return Reconstruction(np.zeros((0, net.d)), empty, empty, index, (), None), failure
