"""What does a wrong answer mean?  A cause is named only if it gives this very answer.

Else the diagnosis says what is known: which arrays are wrong, and by which factor.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import product
from typing import Any

import numpy as np

from kkt_ref.conformance.cases import Case
from kkt_ref.conformance.mistakes import cheap_mistakes, costly_mistakes
from kkt_ref.conformance.questions import Answer, Question, in_float64, relative
from kkt_ref.network.mlp import MLP

Array = np.ndarray
MATCHES = "matches if "


def causes_of(
    question: Question, case: Case, answer: Answer, right: Answer, tolerance: float, earlier: Case
) -> tuple[str, ...]:
    """Return the texts of all causes that give this wrong answer, or what else is known."""
    sources = _sources(question, case, right, earlier)
    for source in sources:
        found = _matching(source(), question, case, answer, right, tolerance)
        if found:
            return tuple(f"{MATCHES}{text}" for text in found)
    return _precision(question, case, answer, right) or _facts(
        question, case, answer, right, tolerance
    )


def would_fail(
    texts: set[str], question: Question, case: Case, right: Answer, tolerance: float, earlier: Case
) -> set[str]:
    """Return which of these causes would make the answer to a case wrong."""
    wrong: dict[str, bool] = {}  # whether all answers of a text are wrong
    for source in _sources(question, case, right, earlier):
        for text, mistaken in source():
            if (text := f"{MATCHES}{text}") in texts:
                differs = _differs(mistaken, question, case, right, tolerance)
                wrong[text] = differs and wrong.get(text, True)
        if wrong.keys() == texts:
            break
    return {text for text, differs in wrong.items() if differs}


def _sources(
    question: Question, case: Case, right: Answer, earlier: Case
) -> Sequence[Callable[[], Iterator[tuple[str, Any]]]]:
    given, before = (tuple(map(in_float64, c.inputs)) for c in (case, earlier))
    return (
        lambda: cheap_mistakes(question.name, given, right, before),
        lambda: _orders(question, case, right),
        lambda: costly_mistakes(question.name, given),
        lambda: _rounded(question, case),
    )


def _differs(mistaken: Any, question: Question, case: Case, right: Answer, tol: float) -> bool:
    finite = all(np.all(np.isfinite(part)) for part in mistaken)
    return finite and not question.error(case, mistaken, right) <= tol


def _matching(
    mistakes: Iterator[tuple[str, Any]],
    question: Question,
    case: Case,
    answer: Answer,
    right: Answer,
    tolerance: float,
) -> list[str]:
    found = []
    for text, mistaken in mistakes:
        mistaken = tuple(map(np.asarray, mistaken))
        if text not in found and _differs(mistaken, question, case, right, tolerance):
            if question.error(case, answer, mistaken) <= tolerance:
                found.append(text)
    return found


def _orders(question: Question, case: Case, right: Answer) -> Iterator[tuple[str, Answer]]:
    """Yield the answer with θ in other orders."""
    if not question.flat:
        return
    net: MLP = case.inputs[0]
    places = net.with_theta(np.arange(net.theta.size) + 0.0).layers  # where each number belongs
    for turned, arranged, backwards in product((False, True), _ARRANGED, (False, True)):
        layers = places[::-1] if backwards else places
        pairs = [(W.T if turned else W, b) for W, b in layers]
        order = np.concatenate([p.ravel() for p in _ARRANGED[arranged](pairs) if p is not None])
        said = ("W in Fortran order" * turned, arranged, "the layers reversed" * backwards)
        said = " and ".join(part for part in said if part)
        if said:
            yield f"θ has another order: {said}", (right[0][..., order.astype(int)],)


_ARRANGED: dict[str, Callable[[Any], list[Any]]] = {
    "": lambda pairs: [p for pair in pairs for p in pair],
    "b_l before W_l": lambda pairs: [p for W, b in pairs for p in (b, W)],
    "all W before all b": lambda pairs: [W for W, _ in pairs] + [b for _, b in pairs],
    "all b before all W": lambda pairs: [b for _, b in pairs] + [W for W, _ in pairs],
}


def _rounded(question: Question, case: Case) -> Iterator[tuple[str, Answer]]:
    """Yield right answers about arguments that were rounded first."""
    arguments = question.arguments(case)
    for kind in ("float32", "float16"):
        for k, name in enumerate(question.takes):
            if isinstance(arguments[k], float):
                continue
            with np.errstate(over="ignore"):
                rounded = arguments[k].astype(kind).astype(arguments[k].dtype)
            numbers = getattr(rounded, "arrays", (rounded,))
            if not all(np.all(np.isfinite(part)) for part in numbers):
                continue
            answer = question.reference(*arguments[:k], rounded, *arguments[k + 1 :])
            yield f"{name} is rounded to {kind}", answer


def _precision(question: Question, case: Case, answer: Answer, right: Answer) -> tuple[str, ...]:
    """Name the precision if the answer is nearly right and has no digits beyond it."""
    error = question.error(case, answer, right)
    parts = [np.asarray(part, np.float64) for part in answer]
    for kind, largest in (("float16", 0.05), ("bfloat16", 0.2), ("float32", 1e-4)):
        short = sum(part.size for part in parts) > 1 or kind == "float32"
        if short and error <= largest and all(_holds(part, kind) for part in parts):
            return (f"{MATCHES}numbers are computed or rounded in {kind}",)
    return ()


def _holds(part: Array, kind: str) -> bool:
    """Whether a floating type can hold these numbers."""
    with np.errstate(over="ignore"):
        if kind == "bfloat16":
            bits = part.astype(np.float32).view(np.uint32)
            return _holds(part, "float32") and not np.any(bits & 0xFFFF)
        return bool(np.all(part.astype(kind).astype(np.float64) == part))


def _facts(
    question: Question, case: Case, answer: Answer, right: Answer, tolerance: float
) -> tuple[str, ...]:
    """Return which arrays are wrong and by which factor, once for each name of the factor."""
    found, wanted = question.blocks(case, answer), question.blocks(case, right)
    factors = _factors(question, case)
    said = {}
    for name in wanted:
        if relative(found[name], wanted[name]) > tolerance:
            said[name] = _compared(found[name], wanted[name], factors, tolerance)
    texts = []
    for preferred in {text: None for options in said.values() for text in options}:
        groups: dict[str, list[str]] = {}
        for name, options in said.items():
            text = preferred if preferred in options else options[0]
            groups.setdefault(text, []).append(name)
        whole = len(groups) == 1 and len(said) == len(wanted)
        parts = [
            f"{'the answer' if whole else ' and '.join(names)} {text}"
            for text, names in groups.items()
        ]
        rest = "" if len(said) == len(wanted) else "; the rest is right"
        texts.append("; ".join(parts) + rest)
    return tuple(dict.fromkeys(texts))


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
        return ["should be 0"]
    if not np.any(found):
        return ["is 0"]
    names = [name for name, c in factors.items() if relative(found, c * wanted) <= tol]
    if not names:
        with np.errstate(all="ignore"):
            c = float(np.sum(found * wanted) / np.sum(wanted**2))
        short = float(f"{c:.3g}")  # any single number has a factor, but seldom a short one
        if relative(found, (c if found.size > 1 else short) * wanted) <= tol:
            names = [f"{c:.6g}"]
    return [f"is {name} times the right one" for name in names] or ["is wrong"]
