"""The known mistakes: what may be done wrong with the value of any step of the computation.

``steps`` passes each value through a step that has a name.  A *verb* is what is done wrong with a
value, such as "is doubled".  Every step with every verb for its kind of value is a mistake, and
the answer that it gives follows from the other steps.  So one verb more is many mistakes more.

Names of dimensions: n samples, K outputs, L layers, P parameters.
"""

from collections.abc import Callable, Collection
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from autograd.tracer import getval

from kkt_ref.conformance.cases import Inputs
from kkt_ref.conformance.steps import Answer, computed
from kkt_ref.conformance.verbs import SCOPES, SIMPLE, TOGETHER, Verb, verbs_of

Array = Any
# how a mistake takes part in the gradients of a loss
FORWARD, DETACHED = "{} {}", "{} {}, but its derivative is right"
BACKWARD, VALUE = "the derivative through {} {}", "{} {} in the value only"
GRADIENTS = "{} {} in the gradients only"


class Mistake(NamedTuple):
    """What is done wrong, and where."""

    subject: str
    verb: str
    steps: tuple[str, ...]
    change: Verb
    counts: Callable[[int, int], bool] = lambda layer, layers: True  # for a layer, of how many
    form: str = FORWARD

    def forms(self, wrong: Collection[str]) -> list["Mistake"]:
        """Return how the mistake may be made if these parts of a loss are wrong."""
        if wrong == {"value"}:
            return [self._replace(form=VALUE)]
        if "value" in wrong:
            return [self, self._replace(form=DETACHED)]
        if self.steps[0] in ("w", "w of b", "the square"):
            return [self, self._replace(form=GRADIENTS)]
        linear = self.verb in SIMPLE and self.verb != "is taken as 1"
        return [self, self._replace(form=BACKWARD)] if linear else [self]

    def answer(self, name: str, inputs: Inputs, right: Answer, gradients: bool) -> Answer | None:
        """Return the answer to a question that this mistake gives, if it can be made there."""

        def at(place: str, value: Any, layer: int = 0, layers: int = 1) -> Any:
            if place not in self.steps or not self.counts(layer, layers):
                return value
            changed = self.change(value, inputs)
            if self.form == BACKWARD:
                return _with_derivative(value, of=changed)
            return _with_derivative(changed, of=value) if self.form == DETACHED else changed

        try:
            parts = computed(name, inputs, at, gradients and self.form != VALUE)
            answer = tuple(np.asarray(part, float) for part in parts)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
            return None
        if self.form == VALUE:
            answer = answer[0], *right[1:]
        if self.form == GRADIENTS:
            answer = right[0], *answer[1:]
        usual = all(
            np.all(np.isfinite(a)) and a.shape == b.shape
            for a, b in zip(answer, right, strict=False)
        )
        return answer if usual else None


def _with_derivative(value: Array, of: Array) -> Array:
    """Return a value that autograd differentiates as another."""
    return of + (getval(value) - getval(of))


def mistakes(name: str, inputs: Inputs) -> list[Mistake]:
    """Return the mistakes in the answer to a question: those of each of its steps."""
    found: dict[str, tuple[Any, int]] = {}

    def at(place: str, value: Any, layer: int = 0, layers: int = 1) -> Any:
        found[place] = value, layers
        return value

    computed(name, inputs, at)
    made = list[Mistake]()
    for subject, steps in (TOGETHER | {place: (place,) for place in found}).items():
        value, layers = next((found[place] for place in steps if place in found), (None, 0))
        for verb, change in verbs_of(steps[0], value).items():
            made.append(Mistake(subject, verb, steps, change))
        for (where, counts), verb in product(SCOPES.items(), list(SIMPLE)[: 5 * (layers > 1)]):
            made.append(Mistake(f"{subject} {where}", verb, steps, SIMPLE[verb], counts))
    return made
