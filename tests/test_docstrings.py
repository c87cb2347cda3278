"""Docstrings by numpydoc's validator, and the API reference by pdoc."""

import dataclasses
import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import pytest

import kkt_ref
from tests.programs import run_python

ROOT = Path(__file__).parent.parent
# Left out: sections nobody wants everywhere (ES01, SA01, EX01), the style of line breaks
# (GL01-GL03), and rules that a symbol, a noun, "As in" or a type that says all would break
# (SS02, SS05, PR04, PR07, PR08, RT03-RT05).
CHECKS = {
    *("GL05", "GL06", "GL07", "GL08", "GL09", "GL10", "SS01", "SS03", "SS04", "SS06"),
    *("PR02", "PR03", "PR05", "PR06", "PR09", "PR10", "RT02", "YD01"),
}
# their classes share methods that one class or the module documents
DOCUMENTED_ONCE = {"kkt_ref.network.activations", "kkt_ref.stationarity.problems"}


def public_modules():
    for found in pkgutil.walk_packages(kkt_ref.__path__, "kkt_ref."):
        if not (found.ispkg or found.name.endswith("__main__")):
            yield importlib.import_module(found.name)


def public_members(module):
    for name, member in vars(module).items():
        of_module = getattr(member, "__module__", None) == module.__name__
        if of_module and not name.startswith("_") and (inspect.isclass(member) or callable(member)):
            yield f"{module.__name__}.{name}"
            if inspect.isclass(member) and module.__name__ not in DOCUMENTED_ONCE:
                for part, value in vars(member).items():
                    documented = inspect.isfunction(value) or isinstance(value, property)
                    if documented and not part.startswith("_"):
                        yield f"{module.__name__}.{name}.{part}"


def faults(name):
    validate = pytest.importorskip("numpydoc.validate", reason="needs the extra docs")
    return [
        f"{name}: {code} {text}"
        for code, text in validate.validate(name)["errors"]
        if code in CHECKS
    ]


def fields(cls):
    if dataclasses.is_dataclass(cls):
        return {field.name for field in dataclasses.fields(cls)}
    return set(getattr(cls, "_fields", ()))


def test_every_member_of_a_module_has_a_valid_docstring():
    names = [name for module in public_modules() for name in public_members(module)]
    assert len(names) > 100
    found = [fault for name in names for fault in faults(name)]
    assert not found, "\n".join(found)


def test_every_exported_function_says_what_its_arguments_are():
    """A section stands only where it says more than the signature, or it refers to another."""
    functions = [f for name in kkt_ref.__all__ if inspect.isfunction(f := getattr(kkt_ref, name))]
    assert len(functions) > 10
    for function in functions:
        text = inspect.getdoc(function)
        named = all(
            re.search(rf"\b{name}\b", text) for name in inspect.signature(function).parameters
        )
        assert named or "as in :func:" in text, function


def test_every_exported_class_documents_its_fields():
    docscrape = pytest.importorskip("numpydoc.docscrape", reason="needs the extra docs")
    classes = [
        member for name in kkt_ref.__all__ if inspect.isclass(member := getattr(kkt_ref, name))
    ]
    for cls in classes:
        sections = docscrape.NumpyDocString(inspect.getdoc(cls))
        entries = [*sections["Parameters"], *sections["Attributes"]]
        named = {name for entry in entries for name in entry.name.split(", ")}
        assert named == fields(cls), cls


@pytest.mark.slow
def test_pdoc_writes_the_reference_without_a_warning(tmp_path):
    pytest.importorskip("pdoc", reason="needs the extra docs")
    paths = [*ROOT.glob("kkt_ref/[a-z]*.py"), *ROOT.glob("kkt_ref/[a-z]*/[a-z]*.py")]
    modules = sorted(path.relative_to(ROOT) for path in paths)
    options = ["--docformat", "numpy", "-t", ".ci/pdoc", "-o", tmp_path, "kkt_ref", "!kkt_ref[.]"]
    done = run_python("-W", "error", "-m", "pdoc", *options, *modules, cwd=ROOT)
    assert done.returncode == 0 and not done.stderr, done.stderr[-2000:]
    pages = {
        page.relative_to(tmp_path).with_suffix("") for page in tmp_path.glob("kkt_ref/**/*.html")
    }
    assert pages == {module.with_suffix("") for module in modules}
