"""The audit of trained weights: how much they reveal about their training data.

    inputs        training and held-out samples, checked
    exchangeable  how the two files differ without the network
    attack        the attack of the library, with its defaults
    measure       the attack, membership, outputs and the KKT conditions: :func:`audit`
    verdict       one of six verdicts, and what each means: :func:`judge`
    fail_if       conditions for CI on the verdict and its figures
    warnings      the limits of a result, in sentences
    report        all numbers as one dict, and as the page ``report.html.j2``
    tables        CSV files
    figures       the pictures
    weights       the auditor's weights file; ``order`` of its layers, and other ``formats``
    provenance    date, versions, command and hashes of the files
    command       the command ``kkt-ref audit``, which writes all this into a folder

Each of ``measure``, ``judge``, ``as_numbers`` and ``draw_pictures`` takes what the earlier ones
returned.  The command needs ``pip install 'kkt_ref[audit]'``; :func:`audit` does not.
"""

from kkt_ref.audit.measure import Audit, audit
from kkt_ref.audit.verdict import Verdict, judge

__all__ = ["Audit", "Verdict", "audit", "judge"]
