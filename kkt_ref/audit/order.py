"""The order of the layers in a file: by their shapes, and by the numbers in their names.

An order that nobody wrote is never taken: safetensors files, and archives of other tools, sort
their names.
"""

import re
from collections.abc import Iterator
from itertools import islice, pairwise
from typing import NamedTuple

MOST = 4  # orders that a message names


class Linear(NamedTuple):
    """The sizes of a layer."""

    outputs: int
    inputs: int
    bias: int | None


def order_layers(
    layers: dict[str, Linear], *, written: bool, asked: tuple[str, ...] | None = None
) -> tuple[str, ...]:
    """Return the names of layers from input to output.

    Parameters
    ----------
    layers : dict of str to Linear
        In the order of the file.
    written : bool
        Whether somebody wrote that order; it decides where shapes and numbers do not.
    asked : tuple of str, optional
        The order that the auditor says.

    Raises
    ------
    ValueError
        If none fits, if several do, or if the matrices are transposed.
    """
    if asked is not None and sorted(asked) != sorted(layers):
        expected = f"each layer of the file once, {', '.join(layers)}"
        raise ValueError(f"layers: expected {expected}, got {', '.join(asked)}")
    turned = {name: Linear(i, o, bias) for name, (o, i, bias) in layers.items()}
    straight_orders, turned_orders = fitting_orders(layers), fitting_orders(turned)
    said = asked or (tuple(layers) if written else None)
    if said and (asked or len(straight_orders) + len(turned_orders) > 1):
        fits = [order for order in (said,) if _is_chain(layers, order)]
        fits_turned = [order for order in (said,) if _is_chain(turned, order)]
        if asked or fits or fits_turned:
            straight_orders, turned_orders = fits, fits_turned
    turned_orders = [order for order in turned_orders if order not in straight_orders]
    if straight_orders and turned_orders:  # a network of one input is no likely reading
        straight_orders = [order for order in straight_orders if layers[order[0]].inputs > 1]
        turned_orders = [order for order in turned_orders if turned[order[0]].inputs > 1]
    if len(straight_orders) == 1 and not turned_orders:
        return straight_orders[0]
    sizes = ", ".join(f"{name} ({o}, {i})" for name, (o, i, _) in layers.items())
    if not straight_orders and turned_orders:
        raise ValueError(
            "the weights are (in, out), as Keras, Flax and scikit-learn keep them; expected "
            f"(out, in), as PyTorch does: write each matrix as W.T. Got {sizes}"
        )
    if not straight_orders:
        order = f" in the order {', '.join(asked)}" if asked else ""
        raise ValueError(
            f"expected weights (out, in) of which each can follow the layer before{order}, got "
            f"{sizes}"
        )
    orders = [", ".join(order) for order in straight_orders]
    orders += [f"{', '.join(order)} if each is transposed" for order in turned_orders]
    more = "; and others" if len(orders) > MOST else ""
    raise ValueError(
        f"several orders of the layers fit, and neither names nor file decide: "
        f"{'; '.join(orders[:MOST])}{more}. Say the order by --layers, such as --layers "
        f"{','.join(straight_orders[0])}; transposed matrices need W.T"
    )


def fitting_orders(layers: dict[str, Linear]) -> list[tuple[str, ...]]:
    """Return some orders in which numbers of like names rise."""
    return list(islice(_orders(layers), MOST + 1))


def _orders(layers: dict[str, Linear]) -> Iterator[tuple[str, ...]]:
    if any(bias not in (None, outputs) for outputs, _, bias in layers.values()):
        return
    ends: dict[int, int] = {}  # how many more layers read a width than give it
    for outputs, inputs, _ in layers.values():
        ends[inputs] = ends.get(inputs, 0) + 1
        ends[outputs] = ends.get(outputs, 0) - 1
    if sum(abs(end) for end in ends.values()) > 2:  # no path takes every layer once
        return
    stems = {name: _stem_and_numbers(name) for name in layers}
    stack: list[tuple[tuple[str, ...], tuple[str, ...]]] = [((), tuple(layers))]
    while stack:
        order, rest = stack.pop()
        if not rest:
            yield order
        width = layers[order[-1]].outputs if order else None
        for name in reversed(rest):
            fits = not order or layers[name].inputs == width
            (stem, numbers) = stems[name]
            waits = any(stems[o][0] == stem and stems[o][1] < numbers for o in rest)
            if fits and not waits:
                stack.append(((*order, name), tuple(o for o in rest if o != name)))


def _is_chain(layers: dict[str, Linear], order: tuple[str, ...]) -> bool:
    good = all(bias in (None, outputs) for outputs, _, bias in layers.values())
    return good and all(layers[b].inputs == layers[a].outputs for a, b in pairwise(order))


def _stem_and_numbers(name: str) -> tuple[str, tuple[int, ...]]:
    """Return "dense" and (2,) of dense_2; dense itself has no number and comes first."""
    return re.sub(r"[._-]?\d+", "", name), tuple(map(int, re.findall(r"\d+", name)))
