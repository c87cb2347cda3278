"""Questions and answers in files: programs in other languages are judged, and bad files refused."""

import json
import shutil
import subprocess
import textwrap
from pathlib import Path

import numpy as np
import pytest

from kkt_ref.__main__ import main
from kkt_ref.conformance import ConformanceError, check_answers, files, write_questions
from kkt_ref.conformance.files import METHODS

PEERS = Path(__file__).parent / "peers"


def run(*command):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def answered(results):
    return {result.name.split(":")[0] for result in results if result.status == "passed"}


def test_a_c_program(tmp_path):
    if not (cc := shutil.which("gcc")):
        pytest.skip("needs gcc")
    questions, answers = tmp_path / "questions.txt", tmp_path / "answers.txt"
    write_questions(questions, seed=3)
    run(cc, "-O1", "-o", tmp_path / "peer", PEERS / "peer.c")
    run(tmp_path / "peer", questions, answers)
    lacking = {f"*: *{kind}*": "the program has ReLU only" for kind in ("gates", "softplus")}
    results = check_answers(answers, seed=3, expected_failures=lacking)
    assert answered(results) == {*list(METHODS)[:4]}
    assert sum(result.status == "passed" for result in results) > 100


@pytest.mark.parametrize("ending", [".npz", ".json", ".txt"])
def test_right_answers_pass_in_each_format(tmp_path, ending):
    path = tmp_path / f"right{ending}"
    write_questions(path, answers=True, seed=1)
    results = check_answers(path)
    assert answered(results) == METHODS.keys()
    assert {r.name.split(": ")[1] for r in results if r.status == "skipped"} == {"no memory"}


@pytest.fixture(scope="module")
def right(tmp_path_factory):
    path = tmp_path_factory.mktemp("answers") / "right.json"
    write_questions(path, answers=True)
    return json.loads(path.read_text())


def judged(right, folder, change):
    """The results for the right answers after a change of the file's arrays."""
    arrays = dict(right["arrays"])
    change(arrays)
    changed = right | {"arrays": arrays, "seed": 0.0}  # some languages have no integers
    (folder / "answers.json").write_text(json.dumps(changed))
    return check_answers(folder / "answers.json", on_fail="return")


def in_float32(arrays):
    for name in arrays:
        if name.startswith("stationarity_residual/"):
            arrays[name] = np.float32(arrays[name]).tolist()


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda a: a.update({"outputs/plain/outputs": None}), "got None"),
        (lambda a: a.update({"outputs/plain/outputs": [[1.0], [1.0, 2.0]]}), "cannot read"),
        (lambda a: a.update({"outputs/plain/outputs": "text"}), "expected real numbers"),
        (lambda a: a.update({"outputs/plain/outputs": [1.0]}), "expected shape"),
        (lambda a: a.update({"outputs/plain/outputs": [1e999] * 7}), "expected finite"),
        (in_float32, "rounded to float32"),
    ],
)
def test_wrong_answers_are_named(right, tmp_path, change, message):
    bad = [result for result in judged(right, tmp_path, change) if result.bad]
    assert bad and all(message in result.diagnosis for result in bad)
    assert "check.right" in bad[0].repeat and "implementation" not in bad[0].repeat


def test_every_case_of_a_method_must_be_answered(right, tmp_path):
    def without_two(arrays):
        del arrays["stationarity/plain/grad_x"], arrays["ssim/colour/ssim"]

    part, case = (result for result in judged(right, tmp_path, without_two) if result.bad)
    assert (case.name, case.status) == ("ssim: colour", "unanswered")
    assert part.diagnosis == "the file lacks stationarity/plain/grad_x"


def test_the_program_in_the_documents_is_right(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_questions("questions.json", seed=2)
    program = files.__doc__.partition("This program answers ``outputs``::")[2]
    exec(textwrap.dedent(program), {})
    assert answered(check_answers("answers.json")) == {"outputs"}


@pytest.mark.parametrize("ending", [".json", ".txt"])
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_files_of_other_systems_are_read(tmp_path, ending, encoding):
    path = tmp_path / f"a{ending}"
    write_questions(path, answers=True)
    path.write_text(path.read_text() + "\r\n\n", encoding)
    assert files._read(path)[1].keys() >= {"ssim/colour/ssim"}


def content(**changes):
    header = {"format": "kkt_ref.questions.1", "seed": 0, "dtype": "float64", "arrays": {}}
    return json.dumps({key: value for key, value in (header | changes).items() if value != ""})


@pytest.mark.parametrize(
    "content, message",
    [
        ("", "but JSONDecodeError"),
        ("[]", "expected answers"),
        (content(arrays=""), "arrays"),
        (content(format="1"), "expected format"),
        (content(dtype="float16"), "dtype: expected float64"),
        (content(seed=-1), "seed: expected an integer"),
        (content(), r"answers\.json: expected names such as .* none of them"),
        (content(arrays={"a": 1}), r"got \['a'\]"),
    ],
)
def test_other_files_are_refused(tmp_path, content, message):
    (tmp_path / "answers.json").write_text(content)
    with pytest.raises(ValueError, match=message):
        check_answers(tmp_path / "answers.json")


def test_seed_and_dtype_must_be_those_of_the_file(tmp_path):
    write_questions(tmp_path / "q.npz", answers=True, seed=1)
    with pytest.raises(ValueError, match="seed: expected 1"):
        check_answers(tmp_path / "q.npz", seed=0)
    with pytest.raises(ValueError, match="dtype: expected float64"):
        check_answers(tmp_path / "q.npz", dtype="float32")


def test_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["questions", "q.txt", "--with-answers", "--seed", "2"]) == 0
    assert main(["check", "--answers", "q.txt", "--seed", "2"]) == 0
    assert "0 failed" in capsys.readouterr().out
    text = Path("q.txt").read_text().replace("ssim/colour/ssim 0 0.", "ssim/colour/ssim 0 0.1")
    Path("q.txt").write_text(text)
    assert main(["check", "--answers", "q.txt"]) == 1
    assert "ssim: colour" in capsys.readouterr().out
    with pytest.raises(ConformanceError):
        check_answers("q.txt")
