"""Choose outcome, drivers, group and wave with widgets; see the finding, its checks, a what-if, and the code for it.

The code on display is the code that was run: a choice is turned into lines of Python, and these are executed.
"""

from cxresearch.errors import DataProblem, StudyProblem
from cxresearch.findings import as_text, readable
from cxresearch.study import open_study

SCORE, TABLE = "How is it scored?", "Who answered what?"
DRIVERS, WHAT_IF = "What goes with it?", "What if one were better?"
OPENED = "import cxresearch as cx\n\nstudy = cx.open_study({!r})\nresponses = study.responses{}\nfinding = cx.{}"


def code_for(
    study, question: str, item: str, *, path, seed, n_boot, drivers=(), group=None, wave=None, better=None, points=1.0
) -> str:
    """Return the lines of Python that answer a question on an item; they end with the finding. Refuse too few drivers.

    `group` splits, `wave` is the one to keep, `better` the driver that is raised by `points`.
    """
    by, chance = f", by={group!r}" if group else "", f"n_boot={n_boot}, seed={seed}"
    fitted = f"responses, outcome={item!r}, drivers={list(drivers)!r}"
    if question in (DRIVERS, WHAT_IF) and (not drivers or item in drivers):
        raise StudyProblem("choose two drivers or more, and none of them the outcome itself")
    if question == TABLE:
        call = f"crosstab(responses, [{item!r}], {[group] if group else []!r})"
    elif question == DRIVERS:
        call = f"driver_importance({fitted}, {chance})"
    elif question == WHAT_IF:
        call = f"simulate_improvement({fitted}, improve={{{better!r}: {points:g}}}, {chance})"
    elif item in study.columns("nps"):
        call = f"nps(responses, {item!r}{by})"
    else:  # the two highest answers
        call = f"top_box(responses, {item!r}, threshold={study.responses.scales[item][1] - 1:g}{by})"
    narrowed = "" if wave is None else f".where({f'wave == {wave!r}'!r})"
    return OPENED.format(path, narrowed, call)


def explore(study, *, seed: int, n_boot: int = 200):
    """Return widgets that ask a study questions; for JupyterLab.

    Parameters
    ----------
    study : path of ``study.yml``; refused if it has no responses or fewer than two rated items
    seed, n_boot : int, of the bootstrap; few replicates, so that an answer comes while one waits

    Examples
    --------
    >>> import cxresearch as cx
    >>> type(cx.explore("data/example/study.yml", seed=1)).__name__
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

        def menu(kind, title: str, keys, *before, labels=study.labels, **more):
            options = [*before, *((labels.get(key, str(key)), key) for key in keys)]
            style = {"description_width": "6rem"}
            return kind(options=options, description=title, layout=w.Layout(width="28rem"), style=style, **more)

        self.study, self.given = study, {"path": path, "seed": seed, "n_boot": n_boot}
        rated, waves = list(study.responses.scales), study.responses.wave_order if study.responses.wave else []
        drivers, every = study.columns("driver") or rated[1:], ("(all)", None)
        outcome = next(iter(study.columns("nps", "csat", "outcome")), rated[0])
        self.question = w.ToggleButtons(options=[SCORE, TABLE, DRIVERS, WHAT_IF], style={"button_width": "14rem"})
        self.outcome = menu(w.Dropdown, "Outcome", rated, value=outcome)
        self.group = menu(w.Dropdown, "Groups by", study.columns("demographic"), every)
        self.wave = menu(w.Dropdown, "Wave", waves, every, labels={})
        self.drivers = menu(w.SelectMultiple, "Drivers", rated, value=drivers, rows=min(10, len(rated)))
        self.better = menu(w.Dropdown, "Raise", rated, value=drivers[0])
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

        drivers = [key for key in self.drivers.value if key != self.outcome.value]
        asked = {name: getattr(self, name).value for name in ("group", "wave", "better", "points")} | self.given
        self.code.value = ""  # of an answer before
        self.out.clear_output(wait=True)
        with self.out:
            try:
                asked |= {"question": self.question.value, "item": self.outcome.value, "drivers": drivers}
                self.code.value = code_for(self.study, **asked)
                exec(self.code.value, names := {})
            except DataProblem as problem:
                display(Markdown(f"**Refused.** {as_text(str(problem))}"))
                return
            finding = names["finding"]
            figure, table = finding.plot().get_figure(), getattr(finding, "shown", lambda: readable(finding.tidy()))()
            display(finding, figure, table, readable(finding.checks()))
            plt.close(figure)
