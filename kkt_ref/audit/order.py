"""The order of the layers in a file: by their shapes, and by the numbers in their names.

An order that nobody wrote is never taken: safetensors files, and archives of other tools, sort
their names.
"""

import re
from collections import Counter
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
    readings = layers, {name: Linear(i, o, bias) for name, (o, i, bias) in layers.items()}
    found = [list(islice(_orders(sizes), MOST + 1)) for sizes in readings]
    said = asked or (tuple(layers) if written else ())
    if asked or (said and sum(map(len, found)) > 1):
        as_said = [[said] if _is_chain(sizes, said) else [] for sizes in readings]
        found = as_said if asked or any(as_said) else found
    straight, turned = found
    turned = [order for order in turned if order not in straight]
    if straight and turned:  # a network of one input is no likely reading
        straight, turned = (
            [order for order in orders if sizes[order[0]].inputs > 1]
            for orders, sizes in zip((straight, turned), readings, strict=True)
        )
    if len(straight) == 1 and not turned:
        return straight[0]
    sizes = ", ".join(f"{name} ({o}, {i})" for name, (o, i, _) in layers.items())
    if straight:
        orders = [", ".join(order) for order in straight]
        orders += [f"{', '.join(order)} if each is transposed" for order in turned]
        raise ValueError(
            "several orders of the layers fit, and neither names nor file decide: "
            f"{'; '.join(orders[:MOST])}{'; and others' if len(orders) > MOST else ''}. Say the "
            f"order by --layers, such as --layers {','.join(straight[0])}; transposed matrices "
            "need W.T"
        )
    if turned:
        raise ValueError(
            "the weights are (in, out), as Keras, Flax and scikit-learn keep them; expected "
            f"(out, in), as PyTorch does: write each matrix as W.T. Got {sizes}"
        )
    order = f" in the order {', '.join(asked)}" if asked else ""
    raise ValueError(
        f"expected weights (out, in) of which each can follow the layer before{order}, got {sizes}"
    )


def _is_chain(layers: dict[str, Linear], order: tuple[str, ...]) -> bool:
    """Return whether each layer reads what the layer before gives, and biases fit all layers."""
    biases = all(bias in (None, outputs) for outputs, _, bias in layers.values())
    return biases and all(layers[b].inputs == layers[a].outputs for a, b in pairwise(order))


def _orders(layers: dict[str, Linear]) -> Iterator[tuple[str, ...]]:
    """Yield the chains of all layers in which numbers of like names rise."""
    reads, gives = (Counter(layer[end] for layer in layers.values()) for end in (1, 0))
    if ((reads - gives) + (gives - reads)).total() > 2:  # no path takes every layer once
        return
    stems = {name: _stem_and_numbers(name) for name in layers}
    stack: list[tuple[str, ...]] = [()]
    while stack:
        order = stack.pop()
        rest = [name for name in layers if name not in order]
        if not rest:
            yield order
        for name in reversed(rest):
            (stem, numbers) = stems[name]
            waits = any(stems[o][0] == stem and stems[o][1] < numbers for o in rest)
            if not waits and _is_chain(layers, (*order[-1:], name)):
                stack.append((*order, name))


def _stem_and_numbers(name: str) -> tuple[str, tuple[int, ...]]:
    """Return "dense" and (2,) of dense_2; dense itself has no number and comes first."""
    return re.sub(r"[._-]?\d+", "", name), tuple(map(int, re.findall(r"\d+", name)))
