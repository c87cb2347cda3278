"""What does a wrong answer mean?  A cause is named only if it gives this very answer.

Else the diagnosis says what is known: which arrays are wrong, and by which factor.
"""

from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import NamedTuple

import numpy as np

from kkt_ref.conformance.cases import Case
from kkt_ref.conformance.mistakes import mistakes
from kkt_ref.conformance.questions import Answer, Question, in_float64, names_of, relative

Array = np.ndarray


class Cause(NamedTuple):
    """A cause that gives the very answer, or what else is known of a wrong answer."""

    text: str
    source: str  # where it comes from: "known" if it is no cause

    def __str__(self) -> str:
        return f"matches if {self.text}" if self.source not in ("known", "state") else self.text


@dataclass(frozen=True)
class Asked:
    """A question about a case, its right answer and those that the known mistakes give."""

    question: Question
    case: Case
    earlier: Case  # the case that this question is asked about first
    tolerance: float

    @cached_property
    def right(self) -> Answer:
        """The right arrays."""
        return self.question.reference(*self.question.arguments(self.case))

    @cached_property
    def mistaken(self) -> dict[str, list[Answer | None]]:
        """The answers of each mistake, and None where it need not make a difference."""
        given, before = (tuple(map(in_float64, c.inputs)) for c in (self.case, self.earlier))
        answers: dict[str, list[Answer | None]] = {}
        with np.errstate(all="ignore"):
            for text, parts in mistakes(self.question.name, given, self.right, before):
                answer = tuple(map(np.asarray, parts))
                finite = all(np.all(np.isfinite(part)) for part in answer)
                differs = finite and not self.agree(answer, self.right)
                answers.setdefault(text, []).append(answer if differs else None)
        return answers

    def blocks(self, answer: Answer) -> dict[str, Array]:
        """Return the named arrays of an answer; those of θ are W_1, b_1, W_2, ..."""
        if not self.question.flat:
            return dict(zip(self.question.parts, answer, strict=True))
        net = self.case.inputs[0]
        ends = np.cumsum([p.size for p in net.arrays])[:-1]
        return dict(zip(names_of(net), np.split(answer[0], ends, axis=-1), strict=True))

    def error(self, answer: Answer, right: Answer) -> float:
        """Return the largest error, relative to the norm of each of the ``blocks``."""
        pairs = zip(self.blocks(answer).values(), self.blocks(right).values(), strict=True)
        return float(np.max([relative(found, wanted) for found, wanted in pairs]))

    def agree(self, answer: Answer, right: Answer) -> bool:
        """Whether the error is within the tolerance."""
        return self.error(answer, right) <= self.tolerance


def causes_of(asked: Asked, answer: Answer) -> tuple[Cause, ...]:
    """Return all causes that give this wrong answer, and then what else is known."""
    with np.errstate(all="ignore"):  # an answer may be as large as it likes
        found = [
            Cause(text, "mistake")
            for text, answers in asked.mistaken.items()
            if any(other is not None and asked.agree(answer, other) for other in answers)
        ]
        found += _precision(asked, answer)
        return (*found, *(Cause(text, "known") for text in _facts(asked, answer)))


def would_fail(cause: Cause, asked: Asked) -> bool:
    """Whether a cause would make the answer to a case wrong."""
    harmless = any(a is None for a in asked.mistaken.get(cause.text, [None]))
    return not harmless or cause.source == "precision"


def _precision(asked: Asked, answer: Answer) -> list[Cause]:
    """Name the precision if the answer is nearly right and has no digits beyond it."""
    error = asked.error(answer, asked.right)
    parts = [np.asarray(part, np.float64) for part in answer]
    for kind, largest in (("bfloat16", 0.2), ("float16", 0.05), ("float32", 1e-4)):
        short = sum(part.size for part in parts) > 1 or kind == "float32"
        if short and error <= largest and all(_holds(part, kind) for part in parts):
            return [Cause(f"numbers are computed or rounded in {kind}", "precision")]
    return []


def _holds(part: Array, kind: str) -> bool:
    """Whether a floating type can hold these numbers."""
    with np.errstate(over="ignore"):
        if kind == "bfloat16":
            bits = part.astype(np.float32).view(np.uint32)
            return _holds(part, "float32") and not np.any(bits & 0xFFFF)
        return bool(np.all(part.astype(kind).astype(np.float64) == part))


def _facts(asked: Asked, answer: Answer) -> dict[str, None]:
    """Return which arrays are wrong and by which factor, once for each name of the factor."""
    found, wanted = asked.blocks(answer), asked.blocks(asked.right)
    factors, tol = _factors(asked.question, asked.case), asked.tolerance
    said = {
        name: _compared(found[name], wanted[name], factors, tol)
        for name in wanted
        if relative(found[name], wanted[name]) > tol
    }
    every, texts = len(said) == len(wanted), {}
    for preferred in dict.fromkeys(chain(*said.values())):
        groups: dict[str, list[str]] = {}
        for name, options in said.items():
            text = preferred if preferred in options else options[0]
            groups.setdefault(text, []).append(name)
        parts = [_sentence(names, text, list(wanted)) for text, names in groups.items()]
        if len(groups) == 1 and every:
            parts = [f"the answer is {preferred}"]
        texts["; ".join(parts if every else [*parts, "the rest is right"])] = None
    return texts


def _sentence(names: list[str], text: str, wanted: list[str]) -> str:
    for kind in "Wb":
        every = [name for name in wanted if name.startswith(f"{kind}_")]
        if len(every) > 1 and set(every) <= set(names):
            names = [f"every {kind}", *(name for name in names if name not in every)]
    return f"{' and '.join(names)} {'is' if len(names) == 1 else 'are'} {text}"


def _factors(question: Question, case: Case) -> dict[str, float]:
    factors = {"-1": -1.0, "2": 2.0, "1/2": 0.5, "-2": -2.0, "4": 4.0, "1/4": 0.25}
    if question.name == "ssim":
        return factors | {"255": 255.0}
    net, x = case.inputs[:2]
    theta = net.theta.astype(np.float64)
    sizes = {"m": len(x), "P": theta.size, "K": net.K, "L": net.depth, "‖θ‖": np.linalg.norm(theta)}
    sizes |= {"‖θ‖²": np.sum(theta**2), "alpha": getattr(net.activation, "alpha", 1.0)}
    for name, size in sizes.items():
        if size != 1:
            factors |= {name: float(size), f"1/{name}": 1 / float(size), f"-1/{name}": -1 / size}
    return factors


def _compared(found: Array, wanted: Array, factors: dict[str, float], tol: float) -> list[str]:
    """Return what a wrong array is, in all words that fit."""
    found, wanted = np.asarray(found, np.float64), np.asarray(wanted, np.float64)
    if not np.any(wanted):
        return ["not 0"]
    if not np.any(found):
        return ["0"]
    names = [name for name, c in factors.items() if relative(found, c * wanted) <= tol]
    if not names:
        with np.errstate(all="ignore"):
            c = float(np.sum(found * wanted) / np.sum(wanted**2))
        short = float(f"{c:.3g}")  # any single number has a factor, but seldom a short one
        if relative(found, (c if found.size > 1 else short) * wanted) <= tol:
            names = [f"{c:.6g}"]
    return [f"{name} times the right one" for name in names] or ["wrong"]
