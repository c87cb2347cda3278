"""Every command, link and picture of the documents exists and runs as it is printed."""

import re
import shlex
from pathlib import Path

import pytest

from kkt_ref.__main__ import main
from tests.programs import run_python

ROOT = Path(__file__).parent.parent
README, COURSE = ROOT / "README.md", ROOT / "demos/README.md"
CONTRIBUTING = ROOT / "CONTRIBUTING.md"
RECORDS = ROOT / "demos/RESULTS.md", ROOT / "demos/RESULTS-history.md"
PAGES = {page: page.read_text(encoding="utf-8") for page in (README, COURSE, *RECORDS)}


def code(page):
    """All code of a page: the lines of its blocks, and what stands between backticks."""
    text = PAGES[page]
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, re.M | re.S)
    spans = re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S))
    return [line for block in blocks for line in block.splitlines()] + spans


def commands(page):
    """The words after `python` in each command; `kkt-ref` stands for `-m kkt_ref`."""
    for line in code(page):
        line = re.sub(r"^kkt-ref ", "python -m kkt_ref ", line)
        for part in re.split(r"&&|;", re.sub(r"\s#.*", "", line)):
            found = re.search(r"(?:^|\s|/)python3? (demos/\S+\.py.*|-m kkt_ref .*)", part)
            if found:
                yield tuple(shlex.split(found.group(1)))


COMMANDS = sorted({command for page in PAGES for command in commands(page)})
PROGRAMS = sorted({c[:3] if c[0] == "-m" else c[:1] for c in COMMANDS})
WITH_OPTIONS = [program for program in PROGRAMS if program != ("demos/one_page.py",)]


@pytest.mark.slow
@pytest.mark.parametrize("program", WITH_OPTIONS, ids=" ".join)
def test_program_takes_the_options_it_is_shown_with(program):
    if program == ("demos/verify_pytorch.py",):
        pytest.importorskip("torch", reason="needs pip install torch")
    done = run_python(*program, "--help", cwd=ROOT)
    assert done.returncode == 0, done.stderr
    known = set(re.findall(r"--[\w-]+", done.stdout))
    shown = {w for c in COMMANDS if c[: len(program)] == program for w in c if w.startswith("--")}
    assert shown <= known


def test_commands_links_pictures_and_files_exist():
    assert len(PROGRAMS) >= 14 and ("-m", "kkt_ref", "audit") in PROGRAMS
    links = [(page, link) for page in PAGES for link in re.findall(r"\]\(([^)\s]+)\)", PAGES[page])]
    inner = [(page.parent, link.split("#")[0]) for page, link in links if "://" not in link]
    assert len(inner) >= 30
    assert not [link for folder, link in inner if not (folder / link).exists()]
    shown = {Path(link).name for _, link in inner}
    assert {picture.name for picture in (ROOT / "demos" / "gallery").iterdir()} <= shown
    demos = {path.name for path in (ROOT / "demos").glob("*.py")}
    assert demos <= set(re.findall(r"\w+\.py", PAGES[COURSE]))


def test_modules_in_the_map_of_the_house_exist():
    table = re.search(r"## The map of the house\n(.*?)\n## ", CONTRIBUTING.read_text("utf-8"), re.S)
    modules = re.findall(r"`(\w+)`", table[1])
    assert len(modules) > 20
    assert not [name for name in modules if not list((ROOT / "kkt_ref").glob(f"**/{name}*"))]


def test_lesson_7_names_the_mistake(tmp_path, monkeypatch, capsys):
    mine = re.search(r"```python\n(.*?)```", PAGES[COURSE], re.S).group(1)
    (tmp_path / "mine.py").write_text(mine)
    monkeypatch.chdir(tmp_path)
    assert main(["check", "mine:Mine"]) == 1
    said = "matches if every bias is taken as 0"
    assert said in capsys.readouterr().out and f"`{said}`" in PAGES[COURSE]
