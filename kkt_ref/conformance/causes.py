"""Why an answer is wrong: causes that give this very answer, and what else is seen.

A mistake is named only if it gives this very answer, and only if the other answers to the same
question agree.  Else the diagnosis says which arrays are wrong, by which factor, and in which
cases.

Names of dimensions: n samples, K outputs, L layers, P parameters.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from kkt_ref.conformance.questions import Answer
from kkt_ref.conformance.result import Cause, Result

Array = np.ndarray
Wrong = dict[str, tuple[str, ...]]  # the wrong arrays, and what each is, in all words that fit
RARELY = 5  # a cause that explains less than a fifth of the failures does so by chance
ELSEWHERE_HARMLESS = {f"relu'(0) is taken as {c}" for c in ("0.5", "1")}  # but at a kink
UNEXPLAINED = 0.05  # of the error that a cause may leave


def relative(array: Array, wanted: Array) -> float:
    """Return ‖array − wanted‖ / ‖wanted‖, or ‖array‖ if ``wanted`` is zero."""
    with np.errstate(all="ignore"):  # an answer may be as large as it likes
        return float(np.linalg.norm(array - wanted) / (np.linalg.norm(wanted) or 1.0))


def causes_of(check: Any, answer: Answer) -> list[Cause]:
    """Return all causes that give this wrong answer to a check."""
    with np.errstate(all="ignore"):
        causes = [
            Cause(mistake, "mistake")
            for mistake, answers in check.mistaken.items()
            if any(other is not None and _explains(check, other, answer) for other in answers)
        ]
        return causes + _precision(check, answer)


def _explains(check: Any, mistaken: Answer, answer: Answer) -> bool:
    """Whether an answer is this mistaken one, which must explain nearly all of its error."""
    close = check.tolerance
    for got, other in zip(answer, mistaken, strict=True):  # most differ grossly
        if np.linalg.norm(got - other) > close * (np.linalg.norm(other) + got.size):
            return False
    blocks = (check.blocks(a).values() for a in (answer, mistaken, check.right))
    for got, other, right in zip(*blocks, strict=True):
        unexplained = np.linalg.norm(got - other) > UNEXPLAINED * np.linalg.norm(got - right)
        if relative(got, other) > close or (unexplained and relative(got, right) > close):
            return False
    return True


def _precision(check: Any, answer: Answer) -> list[Cause]:
    """Name the precision if the answer is nearly right and has no digits beyond it."""
    error = max(check.errors(answer, check.right))
    for kind, largest in (("bfloat16", 0.2), ("float16", 0.05), ("float32", 1e-4)):
        short = sum(part.size for part in answer) > 1 or kind == "float32"
        if short and error <= largest and all(_holds(part, kind) for part in answer):
            return [Cause(f"numbers are computed or rounded in {kind}", "precision")]
    return []


def _holds(part: Array, kind: str) -> bool:
    """Whether a floating type can hold these numbers."""
    if kind == "bfloat16":
        bits = part.astype(np.float32).view(np.uint32)
        return _holds(part, "float32") and not np.any(bits & 0xFFFF)
    return bool(np.all(part.astype(kind).astype(np.float64) == part))


def wrong_arrays(check: Any, answer: Answer) -> Wrong:
    """Return what is seen of each wrong array."""
    got, factors = check.blocks(answer), _factors(check.case.inputs)
    return {
        name: tuple(_compared(got[name], array, factors, check.tolerance))
        for name, array in check.blocks(check.right).items()
        if relative(got[name], array) > check.tolerance
    }


def _factors(inputs: dict[str, Any]) -> dict[str, float]:
    factors = {"-1": -1.0, "2": 2.0, "1/2": 0.5, "-2": -2.0, "4": 4.0, "1/4": 0.25}
    if "net" not in inputs:
        return factors | {"255": 255.0}
    net, theta = inputs["net"], inputs["net"].theta.astype(np.float64)
    sizes = {"m": len(inputs["x"]), "P": theta.size, "K": net.K, "L": net.depth}
    sizes |= {"‖θ‖": np.linalg.norm(theta), "‖θ‖²": np.sum(theta**2), "q": inputs["margin"]}
    sizes |= {"alpha": getattr(net.activation, "alpha", 1.0)}
    for name, size in sizes.items():
        if size != 1:
            factors |= {name: float(size), f"1/{name}": 1 / float(size), f"-1/{name}": -1 / size}
    return factors


def _compared(got: Array, wanted: Array, factors: dict[str, float], tol: float) -> list[str]:
    """Return what a wrong array is, the most exact words first."""
    if not np.any(wanted):
        return ["not 0"]
    if not np.any(got):
        return ["0"]
    names = [name for name, c in factors.items() if relative(got, c * wanted) <= tol]
    c = float(np.sum(got * wanted) / np.sum(wanted**2))
    short = float(f"{c:.3g}")  # any single number has a factor, but seldom a short one
    if abs(c - 1) > 1e-3 and relative(got, (c if got.size > 1 else short) * wanted) <= tol:
        names.append(f"{c:.6g}")
    words = [f"{name} times the right one" for name in names]
    if relative(got, wanted) < 1e-3:
        words.append("nearly right; it may be float32, or have too few digits")
    in_order = (np.sort(array, axis=None) for array in (got, wanted))
    vague = {
        "a multiple of the right one, by a factor that differs from case to case": bool(names),
        "right but for signs": relative(np.abs(got), np.abs(wanted)) <= tol,
        "made of the right numbers in another order": relative(*in_order) <= tol,
    }
    if got.size == 1:  # any of them may be so elsewhere
        return [*words, "wrong", *vague]
    return [*words, *(fact for fact, fits in vague.items() if fits), "wrong"]


def _described(wrong: Wrong, names: Sequence[str], common: dict[str, set[str]]) -> str:
    """Return a sentence on the wrong arrays of an answer, which consists of ``names``.

    ``common`` has the words that fit wherever an array is wrong.
    """
    groups: dict[str, list[str]] = {}
    for name, words in wrong.items():
        fits = (word for word in words if word in {"0", "not 0", *common[name]})
        groups.setdefault(next(fits, "wrong"), []).append(name)
    all_wrong = len(wrong) == len(names)
    if len(groups) == 1 and all_wrong:
        return f"the answer is {next(iter(groups))}"
    parts = [_sentence(found, fact, names) for fact, found in groups.items()]
    return "; ".join(parts if all_wrong else [*parts, "the rest is right"])


def _sentence(names: list[str], fact: str, wanted: Sequence[str]) -> str:
    for kind in "Wb":
        every = [name for name in wanted if name.startswith(f"{kind}_")]
        if len(every) > 1 and set(every) <= set(names):
            names = [f"every {kind}", *(name for name in names if name not in every)]
    return f"{' and '.join(names)} {'is' if len(names) == 1 else 'are'} {fact}"


def settled(checks: Sequence[Any], results: Sequence[Result]) -> list[Result]:
    """Choose the causes in the results of one question.

    Several mistakes may give the same answer in one case, and one may do so by chance.  So a
    cause counts only if it explains a fifth of the failures of a question, and five times as many
    answers as speak against it: right ones that it would spoil, and wrong ones that it would make
    wrong in another way.  Twice is enough for a precision, whose errors may be of any size.  A
    factor counts only if it holds wherever that array is wrong.
    """
    votes = Counter(cause for result in results for cause in result.causes)
    doubtful = {cause for cause in votes if cause.doubtful}
    for cause in doubtful:
        if votes[cause] * RARELY < sum(bool(result.causes) for result in results):
            votes[cause] *= cause.description in ELSEWHERE_HARMLESS
    for check, result in zip(checks, results, strict=True):
        if check.other is None and not np.isnan(result.error):
            for cause in doubtful.difference(result.causes):
                strict = 2 if cause.source == "precision" else RARELY
                votes[cause] -= strict * check.is_spoiled_by(cause)
    common: dict[str, set[str]] = {}
    for result in results:
        for name, words in result.wrong.items():
            common[name] = common.get(name, {*words}) & {*words}
    where, chosen = _where(checks, results), []
    for check, result in zip(checks, results, strict=True):
        causes = [c for c in result.causes if not c.doubtful or votes[c] > 0]
        if result.wrong:
            words = _described(result.wrong, [*check.blocks(check.right)], common)
            causes = [c for c in causes if c.source != "seen"] + [Cause(words + where, "seen")]
        elif where and result.status == "failed" and check.other is None:
            causes = [c._replace(description=c.description + where) for c in causes]
        named = [cause for cause in causes if cause.source != "seen"] or causes
        most = max((votes[cause] for cause in named), default=0)
        diagnosis = ", or ".join(str(cause) for cause in named if votes[cause] == most)
        if causes:
            result = result._replace(diagnosis=diagnosis, causes=tuple(causes))
        chosen.append(result)
    return chosen


def _where(checks: Sequence[Any], results: Sequence[Result]) -> str:
    """Return the names of the cases that fail, or of those that do not, if they are few."""
    ordinary = [
        (c.case.name, r.status) for c, r in zip(checks, results, strict=True) if not c.other
    ]
    if {status for _, status in ordinary} >= {"failed", "passed"}:
        for word, wanted in (("wrong", "failed"), ("right", "passed")):
            names = [name for name, status in ordinary if status == wanted]
            if 3 * len(names) <= len(ordinary):
                kind = f"case{'s' * (len(names) > 1)}"
                return f"; it is {word} only in the {kind} {', '.join(map(repr, names))}"
    return ""
