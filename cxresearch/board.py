"""Choose outcome, drivers, group and wave with widgets; see the finding, its checks, a what-if, and the code for it.

The code on display is the code that was run: a choice is turned into lines of Python, and these are executed.
"""

from dataclasses import dataclass

from cxresearch.errors import DataProblem, StudyProblem
from cxresearch.findings import as_text, readable
from cxresearch.study import open_study

ALL = "(all)"
SCORE, DRIVERS, WHAT_IF = "How is it scored?", "What goes with it?", "What if one were better?"


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
    narrowed = "study.responses" if choice.wave is None else f"study.responses.where({f'wave == {choice.wave!r}'!r})"
    lines = ["import cxresearch as cx", "", f"study = cx.open_study({path!r})", f"responses = {narrowed}"]
    return "\n".join([*lines, f"finding = {_call(study, choice, seed, n_boot)}"])


def _call(study, choice: Choice, seed: int, n_boot: int) -> str:
    if choice.question == SCORE:
        by = f", by={choice.group!r}" if choice.group else ""
        if choice.outcome in study.columns("nps"):
            return f"cx.nps(responses, {choice.outcome!r}{by})"
        top = study.responses.scales[choice.outcome][1] - 1  # two highest answers
        return f"cx.top_box(responses, {choice.outcome!r}, threshold={top:g}{by})"
    if not choice.drivers or choice.outcome in choice.drivers:
        raise StudyProblem("choose two drivers or more, and none of them the outcome itself")
    asked = f"responses, outcome={choice.outcome!r}, drivers={list(choice.drivers)!r}"
    chance = f"n_boot={n_boot}, seed={seed}"
    if choice.question == DRIVERS:
        return f"cx.driver_importance({asked}, {chance})"
    return f"cx.simulate_improvement({asked}, improve={{{choice.better!r}: {choice.points:g}}}, {chance})"


def explore(study, *, seed: int, n_boot: int = 200):
    """Return widgets that ask a study questions; for JupyterLab.

    Parameters
    ----------
    study : path
        ``study.yml``.
    seed, n_boot : int
        Of the bootstrap: few replicates, so that an answer comes while one waits.

    Returns
    -------
    ipywidgets.VBox

    Raises
    ------
    StudyProblem
        If the study has no responses or fewer than two rated items.

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

        def dropdown(title: str, keys, **more):
            options = [(study.labels.get(key, key) if isinstance(key, str) else str(key), key) for key in keys]
            return w.Dropdown(options=more.pop("first", []) + options, description=title, **wide, **more)

        self.study, self.path, self.seed, self.n_boot = study, path, seed, n_boot
        wide = {"layout": w.Layout(width="28rem"), "style": {"description_width": "6rem"}}
        everything, rated, responses = [(ALL, None)], list(study.responses.scales), study.responses
        drivers = study.columns("driver") or rated[1:]
        outcome = next(iter(study.columns("nps", "csat", "outcome")), rated[0])
        self.question = w.ToggleButtons(options=[SCORE, DRIVERS, WHAT_IF], style={"button_width": "14rem"})
        self.outcome = dropdown("Outcome", rated, value=outcome)
        self.group = dropdown("Groups by", study.columns("demographic"), first=everything)
        self.wave = dropdown("Wave", responses.wave_order if responses.wave else (), first=everything)
        self.better = dropdown("Raise", rated, value=drivers[0])
        many = {"value": drivers, "rows": min(10, len(rated)), "description": "Drivers", **wide}
        self.drivers = w.SelectMultiple(options=self.better.options, **many)
        self.points = w.FloatSlider(value=1, min=0.5, max=3, step=0.5, description="by points", **wide)
        self.show = w.Button(description="Show", button_style="primary")
        self.out, self.asked = w.Output(), w.VBox()
        self.code = w.Textarea(description="Code", rows=8, layout=w.Layout(width="60rem"))
        self.box = w.VBox([self.question, self.asked, self.show, self.out, self.code])
        self.question.observe(lambda _: self.arrange(), "value")
        self.show.on_click(lambda _: self.answer())
        self.arrange()

    def arrange(self) -> None:
        """Show the widgets that the question needs."""
        more = {SCORE: [self.group], DRIVERS: [self.drivers], WHAT_IF: [self.drivers, self.better, self.points]}
        self.asked.children = [self.outcome, self.wave, *more[self.question.value]]

    def choice(self) -> Choice:
        """Return what the widgets ask."""
        asked = {f: getattr(self, f).value for f in ("question", "outcome", "group", "wave", "better", "points")}
        return Choice(**asked, drivers=tuple(k for k in self.drivers.value if k != self.outcome.value))

    def answer(self) -> None:
        """Run the code of the choice and show finding, figure, table and checks, or why there is none."""
        import matplotlib.pyplot as plt
        from IPython.display import Markdown, display

        self.out.clear_output(wait=True)
        names: dict = {}
        with self.out:
            try:
                asked = {"path": self.path, "seed": self.seed, "n_boot": self.n_boot}
                self.code.value = code_for(self.study, self.choice(), **asked)
                exec(self.code.value, names)
            except DataProblem as problem:
                display(Markdown(f"**Refused.** {as_text(str(problem))}"))
                return
            finding = names["finding"]
            figure = finding.plot().get_figure()
            display(finding, figure, readable(finding.tidy()), readable(finding.checks()))
            plt.close(figure)
