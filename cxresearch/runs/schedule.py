"""A report on a timetable, in the words of the schedulers that people have. Nothing is installed: text goes out."""

import re
import shlex
import sys
from pathlib import Path

from cxresearch.errors import StudyProblem

DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
# when -> the days in a crontab, and in a timer of systemd
WHEN = {"day": ("* * *", "*-*-*"), "weekday": ("* * 1-5", "Mon..Fri *-*-*"), "month": ("1 * *", "*-*-01")}
WHEN |= {day: (f"* * {k % 7}", f"{day[:3].title()} *-*-*") for k, day in enumerate(DAYS, 1)}
EVERY = tuple(WHEN)
QUOTED = str.maketrans({"\\": "\\\\", '"': '\\"', "%": "%%", "$": "$$"})  # what has a meaning in ExecStart
TEMPLATES = {"cron": "crontab.txt.j2", "systemd": "systemd.txt.j2"}


def timetable(study, *, kind, project, report=None, options=(), at="03:00", every="day") -> str:
    """Return a line for ``crontab -e``, or a service of systemd and its timer, each below the name of its file.

    The study must open, and name the report; `project` is the run's working folder, `at` in the scheduler's time zone.
    """
    from cxresearch.runs.plan import declared_report
    from cxresearch.runs.render import rendered
    from cxresearch.study import open_study

    given = re.fullmatch(r"([01]?\d|2[0-3]):([0-5]\d)", at)
    if not given:
        raise StudyProblem(f"--at {at!r} is not a time of day; write it as 03:00")
    home, path = Path(project).resolve(), Path(study).resolve()
    declared_report(open_study(study), report)
    near = path.relative_to(home) if path.is_relative_to(home) else path
    words = [near.parent.name if near.stem == "study" else near.stem, *([report] if report else [])]
    name = "cxresearch-" + (re.sub(r"[^A-Za-z0-9]+", "-", "-".join(words)).strip("-").lower() or "report")
    command = [sys.executable, "-m", "cxresearch", "run", near.as_posix(), *words[1:], *options]
    plan = {"name": name, "project": home, "hour": int(given[1]), "minute": int(given[2])}
    if kind == "systemd":
        line = " ".join(f'"{word.translate(QUOTED)}"' for word in command)
    else:  # the template minds the ``%``, which cron reads as the end of the command
        log = shlex.quote(f"reports/runs/{name}.log")
        line = f"cd {shlex.quote(str(home))} && mkdir -p reports/runs && {shlex.join(command)} >> {log} 2>&1"
    return rendered(TEMPLATES[kind], plan=plan, days=WHEN[every], command=line)
