"""A report on a timetable, in the words of the schedulers that people have. Nothing is installed: text goes out."""

import re
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

from cxresearch.errors import StudyProblem, nearest

DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
EVERY = ("day", "weekday", *DAYS, "month")
_CRON_DAYS = {"day": "* * *", "weekday": "* * 1-5", "month": "1 * *"} | {
    d: f"* * {k % 7}" for k, d in enumerate(DAYS, 1)
}
_SYSTEMD_DAYS = {"day": "*-*-*", "weekday": "Mon..Fri *-*-*", "month": "*-*-01"} | {
    d: f"{d[:3].title()} *-*-*" for d in DAYS
}


@dataclass(frozen=True)
class Timetable:
    """What is to run, with further words of the command line, and when, in the scheduler's time zone."""

    project: Path
    study: Path
    report: str | None
    options: tuple[str, ...]
    hour: int
    minute: int
    every: str

    @property
    def name(self) -> str:
        study = self.study.parent.name if self.study.stem == "study" else self.study.stem
        words = "-".join(w for w in (study, self.report) if w)
        return "cxresearch-" + (re.sub(r"[^A-Za-z0-9]+", "-", words).strip("-").lower() or "report")

    @property
    def arguments(self) -> list[str]:
        return ["run", self.study.as_posix(), *([self.report] if self.report else []), *self.options]

    @property
    def cron(self) -> str:
        return f"{self.minute} {self.hour} {_CRON_DAYS[self.every]}"


def timetable(study, *, project, report=None, options=(), at="03:00", every="day") -> Timetable:
    """Return a checked timetable: the study must open, and name the report; `project` is the run's working folder.

    Raises
    ------
    StudyProblem
        If the time (``HH:MM``), the study or the report is wrong, or a path holds a line break.
    """
    from cxresearch.study import open_study

    given = re.fullmatch(r"([01]?\d|2[0-3]):([0-5]\d)", at)
    if not given:
        raise StudyProblem(f"--at {at!r} is not a time of day; write it as 03:00")
    known, home, path = open_study(study).reports, Path(project).resolve(), Path(study).resolve()
    if report is not None and report not in known:
        listed = f"there are {', '.join(known)}" if known else "it names none under 'reports:'"
        raise StudyProblem(f"{path.name} has no report {report!r}{nearest(report, known)}; {listed}")
    if any(not c.isprintable() for c in f"{home}{path}"):
        raise StudyProblem(f"the path {str(path)!r} holds a control character, which no timetable can carry")
    near = path.relative_to(home) if path.is_relative_to(home) else path
    return Timetable(home, near, report, tuple(options), int(given[1]), int(given[2]), every)


def as_crontab(plan: Timetable) -> str:
    """Return a line for ``crontab -e``; cron reads a bare ``%`` as the end of the command."""
    command = shlex.join([sys.executable, "-m", "cxresearch", *plan.arguments])
    log = shlex.quote(f"reports/runs/{plan.name}.log")
    line = f"cd {shlex.quote(str(plan.project))} && mkdir -p reports/runs && {command} >> {log} 2>&1"
    return (
        f"# {plan.name}: add with `crontab -e`; time of this machine\n{plan.cron} {line.replace('%', chr(92) + '%')}\n"
    )


def as_systemd(plan: Timetable) -> dict[str, str]:
    """Return the texts of a service and its timer, by file name."""
    command = " ".join(map(_systemd_word, [sys.executable, "-m", "cxresearch", *plan.arguments]))
    service = (
        f"[Unit]\nDescription=cxresearch report {plan.name}\n\n"
        f"[Service]\nType=oneshot\nWorkingDirectory={str(plan.project).replace('%', '%%')}\nExecStart={command}\nNice=10\n"
    )
    when = f"{_SYSTEMD_DAYS[plan.every]} {plan.hour:02}:{plan.minute:02}:00"
    timer = (
        f"[Unit]\nDescription=timetable of {plan.name}\n\n"
        f"[Timer]\nOnCalendar={when}\nPersistent=true\n\n[Install]\nWantedBy=timers.target\n"
    )
    return {f"{plan.name}.service": service, f"{plan.name}.timer": timer}


def _systemd_word(word: str) -> str:
    """Quote a word of ExecStart: backslash, quote, specifier and variable have a meaning there."""
    for mark, kept in (("\\", "\\\\"), ('"', '\\"'), ("%", "%%"), ("$", "$$")):
        word = word.replace(mark, kept)
    return f'"{word}"'
