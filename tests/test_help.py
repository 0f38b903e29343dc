"""The examples in the help of every public function run, from the project's folder, and give what they show."""

import doctest
import inspect
from pathlib import Path

import pytest

import cxresearch as cx

ROOT = Path(__file__).parents[1]
WITHOUT = {"save", "use_theme"}  # a file written and a style set: nothing to show
FUNCTIONS = sorted(n for n in cx.__all__ if inspect.isfunction(getattr(cx, n)) and n not in WITHOUT)
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_example_in_the_help_runs(name, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    found = doctest.DocTestFinder(recurse=False).find(getattr(cx, name), name, globs={})[0]
    assert len(found.examples) > 1, f"{name} has no example"
    failed = doctest.DocTestRunner(optionflags=FLAGS, verbose=False).run(found).failed
    assert failed == 0, capsys.readouterr().out
