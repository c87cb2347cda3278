"""Checks of other implementations: their answers must be those of the definition.

In reading order: ``cases`` draws the inputs; ``questions`` has the contract; ``steps`` the right
answers step by step, ``verbs`` what may be done wrong with a step, and ``mistakes`` the wrong
answers; ``check`` asks one question, which gives a ``result``, and ``causes`` finds the mistake;
``verdict`` runs all checks; ``files`` brings questions and answers to other languages, and
``command`` to the command line.
"""

from kkt_ref.conformance.check import Check
from kkt_ref.conformance.files import check_answers, write_questions
from kkt_ref.conformance.questions import Implementation
from kkt_ref.conformance.result import ConformanceError, Result
from kkt_ref.conformance.verdict import (
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
