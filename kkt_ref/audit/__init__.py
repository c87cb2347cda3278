"""The audit: what trained weights reveal about their training data.

Read in this order: ``command`` (the command line and the files it writes), ``inputs`` (training
and held-out samples), ``run`` (KKT conditions, attack, comparison), ``evidence`` (membership),
``verdict`` (three degrees), ``report`` (warnings, tables, HTML by the template ``report.html.j2``),
``tables`` (scores of pairs, CSV), ``figures`` (the pictures), ``cost`` (how long it takes).
The command needs ``pip install 'kkt_ref[audit]'``.
"""

from kkt_ref.audit.command import add_arguments, run_command

__all__ = ["add_arguments", "run_command"]
