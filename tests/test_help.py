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


class Frames:
    """A study that hands out plain DataFrames."""

    def __init__(self, study):
        self.study = study

    def __getattr__(self, name):
        found = getattr(self.study, name)
        return getattr(found, "table", found)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_example_takes_plain_data_frames_or_says_what_to_declare(name, given, monkeypatch, capsys):
    """A DataFrame is a simple random sample: no column's meaning, no waves, no persons are known of it."""
    monkeypatch.chdir(ROOT)
    plain = given | {n: given[n].table for n in ("matched", "behaved")} | {"study": Frames(given["study"])}
    for example in doctest.DocTestFinder(recurse=False).find(getattr(cx, name), name)[0].examples:
        if ".table" in example.source or ".with_table" in example.source or "link_waves(study)" in example.source:
            return  # asks for a survey or a study by name
        try:
            exec(compile(example.source, name, "single"), plain)
        except cx.DataProblem as refused:
            said = str(refused)
            assert any(word in said for word in ("as_survey(", "give the column", "name it with")), said
            return
