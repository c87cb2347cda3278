"""A handout of two pages from the course: each lesson's command, picture and question.

    python demos/handout.py

The lessons are those of demos/README.md.  The page has its pictures inside; a browser prints it on
two sheets of A4, with lines for notes and without the answers.
"""

from __future__ import annotations

import argparse
import html
import re
from base64 import b64encode
from pathlib import Path
from string import Template
from typing import NamedTuple

from report import page_path

from kkt_ref._io import write_atomically

DEMOS = Path(__file__).parent
FIRST_PAGE = 4  # lessons on it, below the idea


class Lesson(NamedTuple):
    """What the handout shows of a lesson, as Markdown."""

    title: str
    commands: str
    picture: str  # a path, or "" for a lesson that shows code
    code: str
    question: str


def read_course(text: str) -> tuple[str, list[Lesson]]:
    """The section on the idea, and the lessons, from the course's Markdown."""
    sections = re.split(r"^## ", text, flags=re.M)[1:]
    idea = next(part for part in sections if part.startswith("The idea")).partition("\n")[2]
    lessons = []
    for part in sections:
        if re.match(r"\d+\. ", part):
            title = part.partition("\n")[0]
            commands = re.search(r"```sh\n(.*?)\n```", part, flags=re.S)[1]
            picture = re.search(r"^!\[.*?\]\((.*?)\)$", part, flags=re.M)
            code = re.search(r"```python\n(.*?)```", part, flags=re.S)
            question = re.search(r"^\*Think:\* (.*?)\n\n", part + "\n\n", flags=re.M | re.S)[1]
            shown = (picture[1], "") if picture else ("", code[1].strip())
            lessons.append(Lesson(title, commands, *shown, question))
    return idea, lessons


def to_html(markdown: str) -> str:
    """Paragraphs, indented formulas, emphasis, code and links of the course as HTML."""
    found = []
    for block in re.split(r"\n\n+", markdown.strip("\n")):
        kind = "pre" if block.startswith("    ") else "p"
        inner = html.escape(re.sub(r"^    ", "", block, flags=re.M), quote=False)
        inner = re.sub(r"\[(.*?)\]\(.*?\)", r"\1", inner)
        inner = re.sub(r"`(.*?)`", r"<code>\1</code>", inner)
        inner = re.sub(r"\*(\S.*?)\*", r"<em>\1</em>", inner, flags=re.S)
        inner = re.sub(r"\b([xyλ])_(\w)", r"\1<sub>\2</sub>", inner)
        found.append(f"<{kind}>{inner}</{kind}>")
    return "\n".join(found)


def lesson_html(lesson: Lesson) -> str:
    """One lesson, with its picture inside and room for notes."""
    shown = f"<pre>{html.escape(lesson.code)}</pre>"
    if lesson.picture:
        raw = b64encode((DEMOS / lesson.picture).read_bytes()).decode()
        shown = f'<img alt="" src="data:image/png;base64,{raw}">'
    return (
        f"<article><h2>{html.escape(lesson.title)}</h2><div>{shown}</div><div class='words'>"
        f"<pre>{html.escape(lesson.commands)}</pre>{to_html(lesson.question)}"
        f"<div class='notes'>{'<i></i>' * 7}</div></div></article>"
    )


def main(arguments: list[str] | None = None) -> None:
    """Write the handout."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--save", type=page_path, default="handout.html", help="the page")
    options = parser.parse_args(arguments)
    idea, lessons = read_course((DEMOS / "README.md").read_text("utf-8"))
    shown = [lesson_html(lesson) for lesson in lessons]
    page = Template((DEMOS / "handout_template.html").read_text("utf-8")).substitute(
        idea=to_html(idea),
        first="\n".join(shown[:FIRST_PAGE]),
        second="\n".join(shown[FIRST_PAGE:]),
    )
    with write_atomically(options.save) as file:
        file.write(page.encode())
    print(f"handout: {options.save}; open it in a browser and print it on A4")


if __name__ == "__main__":
    main()
