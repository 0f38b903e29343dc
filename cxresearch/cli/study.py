"""The commands on a study itself: `new`, `check`, `forget`."""

from pathlib import Path


def add_new(commands) -> None:
    new = commands.add_parser(
        "new",
        help="write a first study file from the files themselves",
        description="Read files and write a first study file: labels, scales, roles and suspicious codes as guesses, "
        "each with its reason, the doubtful ones with confirmed: false. An existing file is never overwritten.",
    )
    new.add_argument("files", metavar="FILE", nargs="+", help="CSV, Excel, Parquet, SPSS or JSON")
    new.add_argument("--out", metavar="STUDY", default="study.yml", help="where to write it (study.yml)")
    new.set_defaults(command=_new)


def add_check(commands) -> None:
    check = commands.add_parser(
        "check",
        help="say what a study holds and whether it can be run",
        description="Read every table of a study: rows and where they went, items with scale and codes, response "
        "quality, joins, decisions. Exit status 2 where something is wrong or a guess is unconfirmed.",
    )
    check.add_argument("study", metavar="STUDY", help="path of study.yml, or its folder")
    check.add_argument("--json", action="store_true", help="print JSON instead of a page")
    check.set_defaults(command=_check)


def add_forget(commands) -> None:
    forget = commands.add_parser(
        "forget",
        help="remove a person from the files of a study",
        description="Find the rows of a person in the files of a study, by respondent and by customer, and name the runs "
        "made from them. Nothing is removed without --yes. Exit status 1 where something is left to do by hand.",
    )
    forget.add_argument("study", metavar="STUDY", help="path of study.yml, or its folder")
    forget.add_argument("person", metavar="ID", help="the id as it stands in the files")
    forget.add_argument("--yes", action="store_true", help="remove the rows; the files are rewritten")
    forget.set_defaults(command=_forget)


def _forget(given) -> int:
    from cxresearch.forget import forget, said

    found = forget(given.study, given.person, project=Path.cwd(), remove=given.yes)
    print(said(found, given.study, given.person, removed=given.yes))
    return 1 if found.by_hand else 0


def _new(given) -> int:
    from cxresearch.intake import new_study

    written = new_study([Path(file) for file in given.files], out=Path(given.out))
    print(written.summary)
    print(f"wrote {given.out}; look at it, then run: cxresearch check {given.out}")
    return 0


def _check(given) -> int:
    import json

    from cxresearch.intake import check_study, render

    found = check_study(given.study)
    print(json.dumps(found, ensure_ascii=False, indent=1) if given.json else render(found), end="\n" * given.json)
    return 0 if found["ok"] else 2
