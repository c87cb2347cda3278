"""The causes of a wrong answer, which give this very answer, and what else is seen of it.

A mistake is named only if it gives nearly all wrong answers to a question, each as it is, and
spoils no right one.  Else the diagnosis says which arrays are wrong, by which factor, and in which
cases.

Names of dimensions: n samples, K outputs, L layers, P parameters.
"""

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from kkt_ref.conformance.mistakes import DETACHED, FORWARD, VALUE, Mistake
from kkt_ref.conformance.questions import Answer
from kkt_ref.conformance.result import Cause, Result

Array = np.ndarray
Wrong = dict[str, tuple[str, ...]]  # the wrong arrays, and what each is, in all words that fit
FEW = 5  # zeros, which many mistakes give
MOST = 2  # causes to name, of those that give the same answers
NEARLY = 10  # times the tolerance, for a mistake that makes no difference
RARELY = 5  # times as many answers must be for a mistake as are against it
SCREENED = (FORWARD, DETACHED, VALUE)
UNEXPLAINED = 0.05  # of the error that a cause may leave


def relative(array: Array, wanted: Array) -> float:
    """Return ‖array − wanted‖ / ‖wanted‖, or ‖array‖ if ``wanted`` is zero."""
    with np.errstate(all="ignore"):  # an answer may be as large as it likes
        return float(np.linalg.norm(array - wanted) / (np.linalg.norm(wanted) or 1.0))


def flat(answer: Answer) -> Array:
    """Return all numbers of an answer."""
    return np.concatenate([part.ravel() for part in answer])


@np.errstate(all="ignore")  # an answer may be as large as it likes
def matching(failed: Sequence[Any], passed: Sequence[Any]) -> list[tuple[Cause, Collection[str]]]:
    """Return the causes that give the wrong answers to a question, and spoil no right one.

    With each cause there are the names of the checks that it explains.  Mistakes of different
    steps that do the same are one cause.
    """
    first, found = failed[0], dict[tuple[str, str, tuple[str, ...]], list[str]]()
    wrong = {
        name: check.blocks(check.answer)[name] for check in failed for name in check.last[1].wrong
    }
    if sum(part.size for part in wrong.values()) < FEW and not any(map(np.any, wrong.values())):
        return []
    got = flat(first.answer)
    size = np.linalg.norm(got) + np.linalg.norm(flat(first.right)) + got.size
    for mistake, numbers in first.mistaken:
        likely = np.linalg.norm(got[: numbers.size] - numbers) <= first.tolerance * size
        for form in mistake.forms({*wrong}) if "grad_x" in first.question.parts else (mistake,):
            if form.form in SCREENED and not likely:
                continue
            explained = _explained(failed, form)
            if explained and all(_spares(check, form) for check in passed):
                found.setdefault((form.form, form.verb, explained), []).append(form.subject)
                break
    causes = []
    most = max((len(explained) for _, _, explained in found), default=0)
    best = [kind for kind in found if len(kind[2]) == most and (FORWARD, *kind[1:]) not in found]
    best = [kind for kind in found if kind[0] == FORWARD and len(kind[2]) == most] + best
    for form, verb, explained in best[:MOST]:
        subject, *same = found[form, verb, explained]
        also = f" (or {', '.join(same)})" if same else ""
        causes.append((Cause(form.format(subject, verb) + also, "mistake"), explained))
    return causes or _stale(failed) or _precision(failed)


def _explained(failed: Sequence[Any], mistake: Mistake) -> tuple[str, ...]:
    """Return the names of the checks whose wrong answers a mistake gives, if they are nearly all.

    It need not be possible in all of these cases, nor be the only mistake.
    """
    explained, against = [], 0
    for check in failed:
        answer = check.given_by(mistake)
        if answer is not None and _explains(check, answer):
            explained.append(check.name)
        elif answer is not None:
            against += 1
            if against * RARELY > len(failed):
                return ()
    enough = len(explained) >= RARELY * against and 2 * len(explained) > len(failed)
    return tuple(explained) if enough else ()


def _spares(check: Any, mistake: Mistake) -> bool:
    """Whether a mistake would make no difference in a check, or cannot be made there."""
    answer = check.given_by(mistake)
    return answer is None or max(check.errors(answer, check.right)) <= NEARLY * check.tolerance


def _explains(check: Any, mistaken: Answer) -> bool:
    """Whether the wrong answer is this mistaken one, which must explain nearly all of its error."""
    blocks = (check.blocks(a).values() for a in (check.answer, mistaken, check.right))
    for got, other, right in zip(*blocks, strict=True):
        left = np.linalg.norm(got - other)
        size = max(np.linalg.norm(other) or 1.0, np.linalg.norm(right))  # rounding errs by it
        wrong = relative(got, right) > check.tolerance
        if left > check.tolerance * size or (
            wrong and left > UNEXPLAINED * np.linalg.norm(got - right)
        ):
            return False
    return True


def _stale(failed: Sequence[Any]) -> list[tuple[Cause, Collection[str]]]:
    """Name what is kept from the first question, if that gives all wrong answers."""
    none = Mistake("", "", (), lambda value, inputs: value)
    name, before = failed[0].question.name, failed[0].group()[0].case.inputs
    for subject, keys in (("the network", ("net",)), ("x", ("x",)), ("the answer", (*before,))):
        kept = {key: before[key] for key in keys if key in before}
        given = ((c, none.answer(name, c.case.inputs | kept, c.right, True)) for c in failed)
        if kept and all(answer and _explains(check, answer) for check, answer in given):
            cause = Cause(f"{subject} is that of an earlier call", "mistake")
            return [(cause, [check.name for check in failed])]
    return []


def _precision(failed: Sequence[Any]) -> list[tuple[Cause, Collection[str]]]:
    """Name the precision if the answers are nearly right and have no digits beyond it."""
    answers = [check.answer for check in failed]
    error = max(check.last[1].error for check in failed)
    for kind, largest in (("bfloat16", 0.2), ("float16", 0.05), ("float32", 1e-4)):
        short = any(sum(p.size for p in parts) > 1 for parts in answers) or kind == "float32"
        held = sum(all(_holds(part, kind) for part in parts) for parts in answers)
        if short and error <= largest and 3 * held >= 2 * len(answers):
            cause = Cause(f"numbers are computed or rounded in {kind}", "precision")
            return [(cause, [check.name for check in failed])]
    return []


def _holds(part: Array, kind: str) -> bool:
    """Whether a floating type can hold these numbers; bfloat16 is the upper half of float32."""
    short = part.astype("float32" if kind == "bfloat16" else kind)
    half = kind != "bfloat16" or not np.any(short.view(np.uint32) & 0xFFFF)
    return half and np.array_equal(short, part)


def wrong_arrays(check: Any, answer: Answer) -> Wrong:
    """Return what is seen of each wrong array."""
    got = check.blocks(answer)
    return {
        name: tuple(_compared(got[name], array, check.tolerance))
        for name, array in check.blocks(check.right).items()
        if relative(got[name], array) > check.tolerance
    }


def _compared(got: Array, wanted: Array, tol: float) -> list[str]:
    """Return what a wrong array is, the most exact words first."""
    if not np.any(wanted):
        return ["not 0"]
    if not np.any(got):
        return ["0"]
    c = float(np.sum(got * wanted) / np.sum(wanted**2))
    short = float(f"{c:.3g}")  # any single number has a factor, but seldom a short one
    times = relative(got, (c if got.size > 1 else short) * wanted) <= tol
    words = [f"{c:.6g} times the right one"] if times and abs(c - 1) > 1e-3 else []
    in_order = (np.sort(array, axis=None) for array in (got, wanted))
    vague = {
        "a multiple of the right one, by a factor that differs from case to case": times,
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
    """Choose the diagnoses in the results of one question.

    Many mistakes give the same answer in one case.  So one is named only if it gives nearly all
    wrong answers to the question and spoils no right one.  A factor counts only if it holds
    wherever that array is wrong.
    """
    pairs = list(zip(checks, results, strict=True))
    failed = [check for check, result in pairs if result.wrong]
    passed = [c for c, result in pairs if result.status == "passed" and c.other is None]
    causes = matching(failed, passed) if failed else []
    common: dict[str, set[str]] = {}
    for result in results:
        for name, words in result.wrong.items():
            common[name] = common.get(name, {*words}) & {*words}
    where, chosen = _where(checks, results), []
    for check, result in pairs:
        if result.status == "failed" and check.other is None:
            own = [cause for cause, names in causes if check.name in names]
            seen = [c._replace(description=c.description + where) for c in result.causes]
            if result.wrong:
                words = _described(result.wrong, [*check.blocks(check.right)], common)
                seen = [Cause(words + where, "seen")]
            diagnosis = ", or ".join(map(str, own or seen))
            result = result._replace(causes=(*own, *seen), diagnosis=diagnosis)
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
