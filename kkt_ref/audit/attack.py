"""The attack of an audit, with the library's own defaults."""

from typing import Any

import numpy as np

from kkt_ref._parallel import one_thread
from kkt_ref._validation import Shape, check_box, check_count
from kkt_ref.attacks import reconstruct_components, reconstruct_first_layer, reconstruct_plane
from kkt_ref.attacks.base import Callback, Reconstruction
from kkt_ref.attacks.components import STARTS, span_of_images
from kkt_ref.attacks.first_layer import FirstLayer
from kkt_ref.attacks.kinks import BOX
from kkt_ref.network.mlp import MLP
from kkt_ref.network.protocol import Network, check_net


def attack_settings(
    net: Network,
    image_shape: Shape | None,
    candidates: int | None,
    restarts: int | None,
    seed: int,
    box: tuple[float, float] | None,
) -> dict[str, Any]:
    """Return the arguments of the attack that suits a network, with its defaults; or raise.

    Images are attacked by their independent components, unless the first layer hides them or a
    number of candidates asks for the alternation.  A network that is no MLP has no attack, and no
    settings.
    """
    takes: tuple[str, ...] = ("box",) if net.d == 2 else ("candidates", "restarts")
    none = f"the attack on {net.d} inputs has none"
    if not isinstance(net, MLP):
        takes, none = (), "a network that is no MLP is not attacked"
    for name, value in {"candidates": candidates, "restarts": restarts, "box": box}.items():
        if value is not None and name not in takes:
            raise ValueError(f"{name}: expected None, {none}")
    if not isinstance(net, MLP):
        return {}
    if net.d == 1:
        raise ValueError("net: expected at least two inputs, got one; no attack is known for that")
    if net.d == 2:
        return {"box": check_box(BOX if box is None else box)}
    with np.errstate(over="ignore"):
        check_net(net.astype(np.float32))  # the attacks work in single precision
    settings: dict[str, Any] = {"image_shape": image_shape, "restarts": STARTS}
    if image_shape is None or candidates is not None or not _shows_images(net, image_shape):
        of_net = FirstLayer(net)
        settings = {"candidates": of_net.default_candidates, "restarts": of_net.default_restarts}
    if candidates is not None:
        settings["candidates"] = check_count(candidates, "candidates")
    if restarts is not None:
        least = 2 if "candidates" in settings else 1  # the alternation compares its starts
        settings["restarts"] = check_count(restarts, "restarts", least)
    return settings | {"seed": check_count(seed, "seed", 0)}


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
    none, index = np.zeros(0), np.zeros(0, int)
    nothing = Reconstruction(np.zeros((0, net.d)), none, none, index, (), None)
    if not isinstance(net, MLP):
        return nothing, "reconstruction is known for MLPs only"
    if net.d > 2:
        method: Any = reconstruct_first_layer
        if "image_shape" in settings:
            method = reconstruct_components
        with np.errstate(all="ignore"):  # the solver of the multipliers refuses what overflows
            found = method(net, **settings, callback=callback)
        return found, "" if len(found.labels) else "no candidate has a multiplier > 0 in any start"
    try:
        with one_thread():
            return reconstruct_plane(net.astype(np.float64), **settings, callback=callback), ""
    except ValueError as error:  # a result and no misuse, since all arguments were checked
        return nothing, str(error)
