"""Choose outcome, drivers, group and wave with widgets; see the finding, its checks, a what-if, and the code for it.

The code on display is the code that was run: a choice is turned into lines of Python, and these are executed.
"""

from dataclasses import dataclass

from cxresearch.errors import DataProblem, StudyProblem
from cxresearch.findings import as_text, readable
from cxresearch.study import open_study

SCORE, TABLE = "How is it scored?", "Who answered what?"
DRIVERS, WHAT_IF = "What goes with it?", "What if one were better?"


@dataclass(frozen=True)
class Choice:
    """What is asked: the question, items by key, a group, the wave to keep, and what is raised by how much."""

    question: str
    outcome: str
    drivers: tuple[str, ...] = ()
    group: str | None = None
    wave: object = None
    better: str | None = None
    points: float = 1.0


def code_for(study, choice: Choice, *, path: str, seed: int, n_boot: int) -> str:
    """Return the lines of Python that answer a choice; they end with the finding. Refuse too few drivers."""
    narrowed = "" if choice.wave is None else f".where({f'wave == {choice.wave!r}'!r})"
    opened = f"import cxresearch as cx\n\nstudy = cx.open_study({path!r})\nresponses = study.responses{narrowed}\n"
    return f"{opened}finding = cx.{_call(study, choice, seed, n_boot)}"


def _call(study, choice: Choice, seed: int, n_boot: int) -> str:
    if choice.question == TABLE:
        return f"crosstab(responses, [{choice.outcome!r}], {[choice.group] if choice.group else []!r})"
    if choice.question == SCORE:
        by = f", by={choice.group!r}" if choice.group else ""
        if choice.outcome in study.columns("nps"):
            return f"nps(responses, {choice.outcome!r}{by})"
        top = study.responses.scales[choice.outcome][1] - 1  # two highest answers
        return f"top_box(responses, {choice.outcome!r}, threshold={top:g}{by})"
    if not choice.drivers or choice.outcome in choice.drivers:
        raise StudyProblem("choose two drivers or more, and none of them the outcome itself")
    asked = f"responses, outcome={choice.outcome!r}, drivers={list(choice.drivers)!r}"
    chance = f"n_boot={n_boot}, seed={seed}"
    if choice.question == DRIVERS:
        return f"driver_importance({asked}, {chance})"
    return f"simulate_improvement({asked}, improve={{{choice.better!r}: {choice.points:g}}}, {chance})"


def explore(study, *, seed: int, n_boot: int = 200):
    """Return widgets that ask a study questions; for JupyterLab.

    Parameters
    ----------
    study : path of ``study.yml``
    seed, n_boot : int, of the bootstrap; few replicates, so that an answer comes while one waits

    Returns
    -------
    ipywidgets.VBox

    Raises
    ------
    StudyProblem, if the study has no responses or fewer than two rated items

    Examples
    --------
    >>> import cxresearch as cx
    >>> board = cx.explore("data/example/study.yml", seed=1)
    >>> type(board).__name__
    'VBox'
    """
    opened = open_study(study)
    if "responses" not in opened.table_names or len(opened.responses.scales) < 2:
        raise StudyProblem(f"{opened.path.name} has no table 'responses' with two rated items: nothing to explore")
    return _Board(opened, str(study), seed, n_boot).box


class _Board:
    """The widgets, and what they show."""

    def __init__(self, study, path: str, seed: int, n_boot: int):
        import ipywidgets as w

        def menu(kind, title: str, options, **more):
            style = {"description_width": "6rem"}
            return kind(options=options, description=title, layout=w.Layout(width="28rem"), style=style, **more)

        def named(keys):
            return [(study.labels.get(key, key), key) for key in keys]

        self.study, self.given = study, {"path": path, "seed": seed, "n_boot": n_boot}
        rated, waves = list(study.responses.scales), study.responses.wave_order if study.responses.wave else []
        drivers = study.columns("driver") or rated[1:]
        outcome = next(iter(study.columns("nps", "csat", "outcome")), rated[0])
        self.question = w.ToggleButtons(options=[SCORE, TABLE, DRIVERS, WHAT_IF], style={"button_width": "14rem"})
        self.outcome = menu(w.Dropdown, "Outcome", named(rated), value=outcome)
        self.group = menu(w.Dropdown, "Groups by", [("(all)", None), *named(study.columns("demographic"))])
        self.wave = menu(w.Dropdown, "Wave", [("(all)", None), *((str(wave), wave) for wave in waves)])
        self.drivers = menu(w.SelectMultiple, "Drivers", named(rated), value=drivers, rows=min(10, len(rated)))
        self.better = menu(w.Dropdown, "Raise", named(rated), value=drivers[0])
        self.points = w.FloatSlider(value=1, min=0.5, max=3, step=0.5, description="by points")
        show = w.Button(description="Show", button_style="primary")
        self.out, self.asked = w.Output(), w.VBox()
        self.code = w.Textarea(description="Code", rows=8, layout=w.Layout(width="60rem"))
        self.box = w.VBox([self.question, self.asked, show, self.out, self.code])
        self.question.observe(lambda _: self.arrange(), "value")
        show.on_click(lambda _: self.answer())
        self.arrange()

    def arrange(self) -> None:
        """Show the widgets that the question needs."""
        more = {WHAT_IF: [self.drivers, self.better, self.points], DRIVERS: [self.drivers]}
        self.asked.children = [self.outcome, self.wave, *more.get(self.question.value, [self.group])]

    def answer(self) -> None:
        """Run the code of what is asked and show finding, figure, table and checks, or why there is none."""
        import matplotlib.pyplot as plt
        from IPython.display import Markdown, display

        outcome, drivers = self.outcome.value, tuple(k for k in self.drivers.value if k != self.outcome.value)
        more = (self.group.value, self.wave.value, self.better.value, self.points.value)
        self.code.value = ""  # of an answer before
        self.out.clear_output(wait=True)
        with self.out:
            try:
                choice = Choice(self.question.value, outcome, drivers, *more)
                self.code.value = code_for(self.study, choice, **self.given)
                exec(self.code.value, names := {})
            except DataProblem as problem:
                display(Markdown(f"**Refused.** {as_text(str(problem))}"))
                return
            finding = names["finding"]
            figure, table = finding.plot().get_figure(), getattr(finding, "shown", lambda: readable(finding.tidy()))()
            display(finding, figure, table, readable(finding.checks()))
            plt.close(figure)
