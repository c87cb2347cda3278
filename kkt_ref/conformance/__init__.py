"""Checks of other implementations against the definitions by autograd.

In reading order: ``cases`` draws the inputs, ``questions`` says what is asked and answers it,
``checks`` compares the answers, ``diagnose`` tries the known mistakes, and ``golden`` writes
inputs and answers to files for other languages.
"""

from kkt_ref.conformance.checks import (
    ConformanceError,
    Result,
    check_implementation,
    check_names,
    parametrize_with_checks,
)
from kkt_ref.conformance.golden import write_golden
from kkt_ref.conformance.questions import Implementation

__all__ = [
    "ConformanceError",
    "Implementation",
    "Result",
    "check_implementation",
    "check_names",
    "parametrize_with_checks",
    "write_golden",
]
