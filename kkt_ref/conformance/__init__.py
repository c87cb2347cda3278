"""Checks of other implementations against the definitions by autograd.

In reading order: ``cases`` draws the inputs, ``questions`` says what is asked and answers it,
``checks`` and ``memory`` compare the answers, ``mistakes`` lists the known mistakes and
``diagnose`` tries them, ``verdict`` runs all checks, and ``files`` brings questions and answers
to other languages.  ``command`` is its part of the command line.
"""

from kkt_ref.conformance.checks import Check, Result
from kkt_ref.conformance.files import check_answers, write_questions
from kkt_ref.conformance.questions import Implementation
from kkt_ref.conformance.verdict import (
    ConformanceError,
    check_implementation,
    check_names,
    get_check,
    parametrize_with_checks,
)

__all__ = [
    "Check",
    "ConformanceError",
    "Implementation",
    "Result",
    "check_answers",
    "check_implementation",
    "check_names",
    "get_check",
    "parametrize_with_checks",
    "write_questions",
]
