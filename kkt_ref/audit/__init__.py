"""The audit of trained weights: how much they reveal about their training data.

    inputs     training and held-out samples, checked
    measure    the attack, the KKT conditions and membership: :func:`audit`
    verdict    shown, not shown beyond chance, or not to be judged: :func:`judge`
    warnings   the limits of a result, in sentences
    report     all numbers as one dict, as tables and as the page ``report.html.j2``
    tables     CSV files, and results by class
    figures    the pictures
    weights    the auditor's weights file
    command    the command ``kkt-ref audit``, which writes all this into a folder

Each of ``measure``, ``judge``, ``as_numbers`` and ``draw_pictures`` takes what the earlier ones
returned.  The command needs ``pip install 'kkt_ref[audit]'``; :func:`audit` does not.
"""

from kkt_ref.audit.measure import Audit, audit
from kkt_ref.audit.verdict import Verdict, judge

__all__ = ["Audit", "Verdict", "audit", "judge"]
