"""The conclusion of an audit: one of three verdicts."""

from typing import NamedTuple

from kkt_ref.audit.measure import Audit

SHOWN, CHANCE, UNJUDGED = "shown", "not shown beyond chance", "cannot be judged"
# of each of the two tests, so that weights that hold nothing are 'shown' in 1% of all audits
LEVEL = 0.005


class Verdict(NamedTuple):
    """A degree, and its reason."""

    degree: str  # "shown", "not shown beyond chance" or "cannot be judged"
    p: float | None  # of no difference between training and held-out samples
    text: str  # one sentence or two


def judge(audit: Audit) -> dict[str, Verdict]:
    """Judge "reconstruction" and "membership", each by training samples against held-out ones."""
    said, more_are_found = _reconstruction(audit)
    if audit.held_out is None:
        missing = "training data" if audit.data is None else "held-out samples"
        text = f"{UNJUDGED} without {missing}."
        return {
            "reconstruction": Verdict(UNJUDGED, None, f"{text} {said}"),
            "membership": Verdict(UNJUDGED, None, text),
        }
    roc = audit.held_out.membership.roc
    low, high = roc.auc_interval
    text = f"AUC {roc.auc:.3f} (95% interval {low:.3f} to {high:.3f})"
    if roc.tpr001 is not None:
        text += (
            f"; {roc.tpr001:.0%} of the training samples score higher than 99% of the held-out ones"
        )
    p = audit.held_out.reconstruction.roc.p_all
    return {
        "reconstruction": _verdict(p, said, more_are_found),
        "membership": _verdict(roc.p_all, f"{text}.", True),
    }


def overall(verdicts: dict[str, Verdict]) -> str:
    """Return the degree of all the evidence: one that is shown is enough."""
    degrees = [verdict.degree for verdict in verdicts.values()]
    return next(degree for degree in (SHOWN, UNJUDGED, CHANCE) if degree in degrees)


def _reconstruction(audit: Audit) -> tuple[str, bool]:
    """Say how many samples came back, and whether they are more than by chance."""
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
    by_chance = audit.held_out.matches.numbers[name]
    return f"{text}, and {by_chance} of {n} that the network never saw.", hits > by_chance


def _verdict(p: float, said: str, enough: bool) -> Verdict:
    """A difference that is not ``enough`` for anybody to see is not shown, whatever its p."""
    degree = SHOWN if p < LEVEL and enough else CHANCE
    return Verdict(degree, p, f"{degree} (p = {p:.2g}). {said}")
