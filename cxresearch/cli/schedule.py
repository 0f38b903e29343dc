"""The command `schedule`."""

from pathlib import Path

KINDS = ("cron", "systemd", "workflow", "airflow")


def add_schedule(commands) -> None:
    schedule = commands.add_parser(
        "schedule",
        help="print a timetable for a report",
        description="Print, and not install, a crontab line, a systemd service with its timer, a workflow of a code host "
        "or an Airflow DAG that runs a report. The working folder is the project's.",
    )
    schedule.add_argument("study", metavar="STUDY", help="path of study.yml")
    schedule.add_argument("report", metavar="REPORT", nargs="?", help="entry under 'reports:' of the study")
    schedule.add_argument("--as", dest="kind", choices=KINDS, default="cron", help="which scheduler (cron)")
    schedule.add_argument("--at", metavar="HH:MM", default="03:00", help="time of day in the scheduler's zone (03:00)")
    schedule.add_argument("--every", metavar="WHEN", default="day", help="day, weekday, monday ... sunday, month (day)")
    schedule.add_argument("--jobs", metavar="N", type=int, help="reports at a time, handed on to run")
    schedule.set_defaults(command=_schedule)


def _schedule(given) -> int:
    from cxresearch.errors import StudyProblem, nearest
    from cxresearch.runs import schedule

    if given.every not in schedule.EVERY:
        known = ", ".join(schedule.EVERY)
        raise StudyProblem(
            f"--every {given.every!r} is not known{nearest(given.every, schedule.EVERY)}; there are {known}"
        )
    options = ("--jobs", str(given.jobs)) if given.jobs else ()
    plan = schedule.timetable(
        given.study, project=Path.cwd(), report=given.report, options=options, at=given.at, every=given.every
    )
    if given.kind == "systemd":
        for name, text in schedule.as_systemd(plan).items():
            print(f"# ~/.config/systemd/user/{name}\n{text}")
        return 0
    write = {"cron": schedule.as_crontab, "workflow": schedule.as_workflow, "airflow": schedule.as_airflow}
    print(write[given.kind](plan), end="")
    return 0
