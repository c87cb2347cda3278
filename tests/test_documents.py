"""Every command, link and picture of the two READMEs exists and runs as it is printed."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "demos" / "README.md"]


def code(page):
    """All code of a page: blocks by line, and what stands between backticks."""
    text = page.read_text(encoding="utf-8")
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, re.M | re.S)
    spans = re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S))
    return [line for block in blocks for line in block.splitlines()] + spans


def commands(page):
    """What follows `python` in a command, as words, comments and other commands cut off."""
    for line in code(page):
        for part in re.split(r"&&|;", re.sub(r"\s#.*", "", line)):
            found = re.search(r"(?:^|\s|/)python3? (demos/\S+\.py.*|-m kkt_ref .*)", part)
            if found:
                yield tuple(shlex.split(found.group(1)))


COMMANDS = sorted({command for page in PAGES for command in commands(page)})
PROGRAMS = sorted({c[:3] if c[0] == "-m" else c[:1] for c in COMMANDS})


def test_commands_are_found():
    scripts = {"toy2d", "conditions", "floor", "mnist", "cifar10", "margin", "baselines"}
    assert {(f"demos/{name}.py",) for name in scripts} <= set(PROGRAMS)
    assert {("-m", "kkt_ref", "check"), ("-m", "kkt_ref", "golden")} <= set(PROGRAMS)
    for page in PAGES:
        assert len(list(commands(page))) >= 8


@pytest.mark.slow
@pytest.mark.parametrize("program", PROGRAMS, ids=" ".join)
def test_program_takes_the_options_it_is_shown_with(program):
    if program == ("demos/verify_pytorch.py",):
        pytest.importorskip("torch", reason="needs pip install torch")
    command = [sys.executable, *program, "--help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    known = set(re.findall(r"--[\w-]+", done.stdout))
    shown = {w for c in COMMANDS if c[: len(program)] == program for w in c if w.startswith("--")}
    assert shown <= known


@pytest.mark.parametrize("page", PAGES, ids=["README", "demos"])
def test_links_and_pictures_exist(page):
    links = re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8"))
    inner = [link for link in links if "://" not in link]
    missing = [link for link in inner if not (page.parent / link.split("#")[0]).exists()]
    assert len(inner) >= 5 and not missing, missing


def test_every_picture_of_the_gallery_is_shown():
    shown = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    for picture in (ROOT / "demos" / "gallery").iterdir():
        assert f"gallery/{picture.name}" in shown


def test_named_files_and_modules_exist():
    for name in code(PAGES[1]):
        if re.fullmatch(r"\w+\.(py|ipynb)", name) and name != "mine.py":
            assert (ROOT / "demos" / name).exists(), name
    table = re.search(r"## Find your way\n(.*?)\n## ", PAGES[0].read_text(encoding="utf-8"), re.S)
    for row in re.findall(r"^\| (.*?`.*?) \|", table.group(1), re.M):
        for module in re.findall(r"`(\w+)`", row):
            assert list((ROOT / "kkt_ref").glob(f"**/{module}.py")), module


def test_ten_lines_prove_themselves_and_print_what_is_said(capsys):
    page = PAGES[0].read_text(encoding="utf-8")
    block, said = re.search(r"```python\n(.*?)```\n\nprints (.*?)\.\n", page, re.S).groups()
    exec(compile(block, "README.md", "exec"), {})
    printed = capsys.readouterr().out
    assert printed.split() == " ".join(re.findall(r"`([^`]+)`", said)).split()
    assert printed.split() and set(printed.split()) == {"True"}


def test_lesson_7_names_the_mistake(tmp_path):
    page = PAGES[1].read_text(encoding="utf-8")
    (tmp_path / "mine.py").write_text(re.search(r"```python\n(.*?)```", page, re.S).group(1))
    command = [sys.executable, "-m", "kkt_ref", "check", "mine:Mine"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1, done.stderr
    said = "matches if biases are not added"
    assert said in done.stdout and f"`{said}`" in page
