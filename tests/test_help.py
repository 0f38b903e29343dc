"""The examples in the help of every public function run, from the project's folder, and give what they show."""

import doctest
import inspect
import textwrap
from pathlib import Path

import pytest

import cxresearch as cx

ROOT = Path(__file__).parents[1]
WITHOUT = {"save", "use_theme"}  # a file written and a style set: nothing to show
FUNCTIONS = sorted(n for n in cx.__all__ if inspect.isfunction(getattr(cx, n)) and n not in WITHOUT)
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@pytest.fixture(scope="module")
def given():
    """What the help of the package says that its examples take as given."""
    names = {"cx": cx}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        exec(textwrap.dedent(cx.__doc__.split("::\n")[1]), names)
    return names


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_example_in_the_help_runs(name, given, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    found = doctest.DocTestFinder(recurse=False).find(getattr(cx, name), name, globs=dict(given))[0]
    assert found.examples, f"{name} has no example"
    failed = doctest.DocTestRunner(optionflags=FLAGS, verbose=False).run(found).failed
    assert failed == 0, capsys.readouterr().out
