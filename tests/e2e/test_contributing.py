"""Follows the examples of CONTRIBUTING.md in a copy of the tree: builds it and runs their tests.

A block goes where the comment above it says: `<!-- new: FILE -->`, or `<!-- PLACE: FILE: LINE -->` with PLACE
one of `above`, `below` and `instead of` the first line that begins like LINE.
"""

import re
import subprocess
import sys

import pytest

from harness.build import PROJECT, SANITIZED
from harness.tree import copy_tree, environment

BLOCK = re.compile(r"^<!-- (new|above|below|instead of): ([^: ]+)(?:: (.*?))? -->\n```[a-z]+\n(.*?)^```",
                   re.MULTILINE | re.DOTALL)
PLACES = {"above": lambda line, text: text + "\n" + line,
          "below": lambda line, text: line + text,
          "instead of": lambda line, text: text}


def insert(path, place, beginning, text):
    lines = path.read_text().splitlines(keepends=True)
    at = next(number for number, line in enumerate(lines) if line.startswith(beginning))
    lines[at] = PLACES[place](lines[at], text)
    path.write_text("".join(lines))


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    if SANITIZED:
        pytest.skip("the examples are built once, without a sanitizer")
    folder = copy_tree(tmp_path_factory.mktemp("contributing") / "heddle")
    blocks = BLOCK.findall((PROJECT / "CONTRIBUTING.md").read_text())
    assert len(blocks) == 7
    for place, path, beginning, text in blocks:
        if place == "new":
            (folder / path).write_text(text)
        else:
            insert(folder / path, place, beginning, text)
    return folder


def run(tree, *command, **variables):
    done = subprocess.run(command, cwd=tree, text=True, timeout=300, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, env=environment() | variables)
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.mark.parametrize("test, count", [("test_greeting.py", 4), ("test_words.py", 2)])
def test_the_examples_of_the_guide_work(tree, test, count):
    run(tree, "make", "programs", "MODE=release")
    printed = run(tree, sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", f"tests/e2e/{test}",
                  HEDDLE="build/release/heddle", MOCK_UPSTREAM="build/release/mock-upstream")
    assert f"{count} passed" in printed
