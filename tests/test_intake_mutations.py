"""Broken copies of real files: the right number, or a message that names the file; nothing silent, nothing foreign."""

from pathlib import Path

import numpy as np
import pytest
from mutations import BASES, KINDS, REFUSED, number_of

from cxresearch.errors import StudyProblem
from cxresearch.intake import check_study, new_study

WHOLE = 2000
SAMPLE = len(KINDS)  # each kind once on each file


def run(numbers, shared, folder):
    """Try the numbered mutations and return what went wrong."""
    originals = {base: base.content(shared) for base in BASES}
    known = {base: base.read(base, content) for base, content in originals.items()}
    wrong = []
    for number in numbers:
        base, mutate = KINDS[number % len(KINDS)]
        content, kind = mutate(base, originals[base], np.random.default_rng(number))
        name = f"{number} {base.file} {mutate.__name__} {kind}"
        found, said = number_of(base, content, folder)
        if found is REFUSED:
            if Path(base.file).name not in said:
                wrong.append(f"{name}: the message names no file: {said}")
            if kind == "harmless":
                wrong.append(f"{name}: refused although nothing is wrong: {said}")
        elif kind == "fatal" or found != (known[base] if kind == "harmless" else base.read(base, content)):
            wrong.append(
                f"{name}: gives {found}, not {known[base] if kind == 'harmless' else base.read(base, content)}"
            )
    return wrong


def test_the_independent_reading_agrees_on_the_whole_files(shared, tmp_path):
    for base in BASES:
        content = base.content(shared)
        assert number_of(base, content, tmp_path) == (base.read(base, content), ""), base.file
        assert base.read(base, content)[0] > 30


def test_a_sample_of_mutations_gives_the_right_number_or_names_the_place(shared, tmp_path):
    assert SAMPLE >= 60
    assert run(range(SAMPLE), shared, tmp_path) == []


@pytest.mark.soak
@pytest.mark.parametrize("part", range(10))
def test_2000_mutations_give_the_right_number_or_name_the_place(shared, tmp_path, part):
    assert run(range(part, WHOLE, 10), shared, tmp_path) == []


def guess(numbers, shared, folder):
    """Guess a study of the numbered mutations and check it: only sentences of ours may come out."""
    originals = {base: base.content(shared) for base in BASES}
    for number in numbers:
        base, mutate = KINDS[number % len(KINDS)]
        content, _ = mutate(base, originals[base], np.random.default_rng(number))
        (folder / Path(base.file).name).write_bytes(content)
        (folder / "new.yml").unlink(missing_ok=True)
        try:
            new_study([folder / Path(base.file).name], out=folder / "new.yml")
        except StudyProblem as problem:
            assert Path(base.file).name in str(problem), number
            continue
        found = check_study(folder / "new.yml")
        assert all(Path(base.file).name in problem for problem in found["problems"]), (number, found["problems"])


def test_a_sample_of_mutations_goes_through_new_and_check(shared, tmp_path):
    guess(range(0, SAMPLE, 4), shared, tmp_path)


@pytest.mark.soak
@pytest.mark.parametrize("part", range(4))
def test_mutations_go_through_new_and_check(shared, tmp_path, part):
    guess(range(part, 400, 4), shared, tmp_path)
