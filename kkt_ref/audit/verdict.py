"""The conclusion of an audit: one of six verdicts."""

from typing import NamedTuple

import numpy as np

from kkt_ref.audit import exchangeable
from kkt_ref.audit.measure import Audit, Evidence, OnHeldOut
from kkt_ref.metrics.roc import roc
from kkt_ref.network.mlp import MLP

SHOWN, CHANCE = "shown", "not shown beyond chance"
BLURRED = "beyond chance, but not recognisable"
DIFFERENT = "cannot be judged, because the files differ"
UNJUDGED = "cannot be judged, because samples are missing"
UNTRIED = "not tried"
MEANING = {  # in plain words, from the most certain to the least
    SHOWN: "The network tells training samples from samples that it never saw.",
    BLURRED: "Candidates are nearer to training samples than to others by more than chance, but no "
    "more of them can be recognised.",
    DIFFERENT: "Data and held-out samples differ without any network, so a difference between "
    "their scores says nothing about training. Draw both from one pool, and fit the preprocessing "
    "to both or to third samples.",
    UNJUDGED: "Training data and enough different held-out samples are needed to tell what the "
    "network holds from chance.",
    CHANCE: "These tests found no difference. That is no proof that there is none.",
    UNTRIED: "No attack is known for such a network. That is no proof that none succeeds.",
}
# of each of the three tests, so that weights that hold nothing are 'shown' in 1% of all audits
LEVEL = 0.01 / 3
# a difference of the files explains no AUC whose 95% interval begins so far above its own
BEYOND = 0.2


class Verdict(NamedTuple):
    """A degree, and its reason."""

    degree: str  # one of MEANING
    p: float | None  # of no difference between training and held-out samples
    text: str  # one sentence or more
    guessed: bool = False  # whether it holds only if the activation was guessed right


def judge(audit: Audit, *, activation_known: bool = True) -> dict[str, Verdict]:
    """Judge "reconstruction", "membership" (weights) and "outputs" against held-out samples.

    Where the files differ without the network, no test is judged, with one exception: the 95%
    interval of its AUC begins at least 0.2 above the best AUC of any comparison without what the
    network learned (columns, norms, a classifier of x, placebo weights).

    Unless ``activation_known``, the verdicts say that the activation was guessed.
    """
    said, more_are_found = _reconstruction(audit)
    held_out = audit.held_out
    if held_out is None:
        missing = "training data" if audit.data is None else "held-out samples"
        text = f"Cannot be judged without {missing}."
        texts = {"reconstruction": f"{text} {said}", "membership": text, "outputs": text}
        return {name: Verdict(UNJUDGED, None, text) for name, text in texts.items()}
    guess = ""
    if not activation_known and isinstance(audit.net, MLP):
        guess = f" The activation was guessed: {audit.net.activation.name}."
    why = why_not(held_out)
    tests = {
        "reconstruction": (said, more_are_found),
        "membership": (_told(held_out.membership), True),
        "outputs": (f"By the {held_out.outputs_by}: {_told(held_out.outputs)}", True),
    }
    verdicts = {
        name: Verdict(degree, p, text + guess, not activation_known)
        for name, (told, enough) in tests.items()
        for degree, p, text in [_verdict(getattr(held_out, name), told, enough, *why)]
    }
    if not isinstance(audit.net, MLP):
        verdicts["reconstruction"] = Verdict(UNTRIED, None, said)
    return verdicts


def overall(verdicts: dict[str, Verdict]) -> str:
    """Return the most certain degree of all tests: one that is shown is enough."""
    degrees = [verdict.degree for verdict in verdicts.values()]
    return next(degree for degree in MEANING if degree in degrees)


def why_not(held_out: OnHeldOut) -> tuple[str, str, float]:
    """Return the degree and the reason if the files cannot be judged, else two empty texts.

    The third result is an AUC which the reason does not explain.
    """
    (n, m), files = held_out.distinct, held_out.files
    separated = np.arange(float(max(m, 2) + max(n, 2)))
    best = roc(separated[-max(n, 2) :], separated[: -max(n, 2)]).p_all
    if m < n or best >= LEVEL:
        enough = f"{n} or more held-out ones" if m < n else "more of both"
        said = f"There are {n} different training samples and {m} different held-out ones"
        return UNJUDGED, f"{said}; {enough} are needed.", 1.0
    said = ""
    if files.fitted:
        said = (
            f"The data have {files.fitted}, and the held-out samples have not: the preprocessing "
            "was fitted to the data. Fit it to both files or to third samples."
        )
    elif files.found:
        said = (
            "Data and held-out samples differ more than random divisions of their rows do "
            f"(p = {files.p:.2g}), without any network. What differs: {'; '.join(files.found)}."
        )
    elif held_out.placebo_p < exchangeable.LEVEL:
        said = (
            "Weights of random directions tell the two files apart by the same score "
            f"(p = {held_out.placebo_p:.2g}), so the rows themselves differ."
        )
    return DIFFERENT if said else "", said, max(files.auc, held_out.placebo_auc) + BEYOND


def _told(evidence: Evidence) -> str:
    """Say how well the scores tell training samples from held-out ones."""
    low, high = evidence.roc.auc_interval
    text = f"AUC {evidence.roc.auc:.3f} (95% interval {low:.3f} to {high:.3f})"
    if evidence.roc.tpr001 is not None:
        share = f"{evidence.roc.tpr001:.0%} of the training samples"
        text += f"; {share} score higher than 99% of the held-out ones"
    return f"{text}."


def _reconstruction(audit: Audit) -> tuple[str, bool]:
    """Say how many samples came back, and whether they are more than by chance."""
    if not isinstance(audit.net, MLP):
        return f"No attack was made, because {audit.failure}.", False
    if audit.failure:
        return f"The attack found no candidate: {audit.failure.rstrip('.')}.", False
    if audit.data is None:
        m = len(audit.found.labels)
        return f"The attack made {m} candidates, as it does for any network.", False
    n = len(audit.data.x)
    name, hits = next(iter(audit.data.matches.numbers.items()))
    text = f"{hits} of {n} training samples have a candidate {name.removeprefix('samples ')}"
    if audit.held_out is None:
        return f"{text}.", False
    by_chance, m = audit.held_out.matches.numbers[name], len(audit.held_out.rows)
    said = f"{text}, and {by_chance} of {m} that the network never saw."
    return said, hits / n > by_chance / m


def _verdict(
    evidence: Evidence, said: str, enough: bool, degree: str, reason: str, bound: float
) -> tuple[str, float, str]:
    """Judge one test; a difference that is not ``enough`` for anybody to see is not shown."""
    p = evidence.p
    if degree and evidence.roc.auc_interval[0] > bound:
        said += (
            f" {reason} But the best AUC of that is {bound - BEYOND:.2f}, and this test's is at "
            f"least {BEYOND} higher, which a difference of the files does not explain."
        )
        degree = reason = ""
    if evidence.p_alone < LEVEL <= p:
        said += (
            f" By itself this had p = {evidence.p_alone:.2g}; the sizes of the rows and weights "
            "of random directions explain a part of it."
        )
    if not degree:
        degree = CHANCE if p >= LEVEL else SHOWN if enough else BLURRED
    number = f"{degree[0].upper()}{degree[1:]} (p = {p:.2g})."
    return degree, p, " ".join(part for part in (number, reason, said) if part)
