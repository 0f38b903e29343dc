"""The command line. Exit status: 0 all well, 1 some notebook failed, 2 the study or the command line is wrong.

Nothing heavy is imported before the arguments are understood: ``cxresearch --help`` costs what argparse costs.
"""

import argparse
import sys

from cxresearch import __version__
from cxresearch.cli.lab import add_lab
from cxresearch.cli.records import add_compare, add_deck, add_sign, add_verify
from cxresearch.cli.run import INTERRUPTED, add_run
from cxresearch.cli.schedule import add_schedule
from cxresearch.cli.study import add_check, add_forget, add_new
from cxresearch.errors import DataProblem

COMMANDS = (
    add_new,
    add_check,
    add_run,
    add_lab,
    add_compare,
    add_verify,
    add_sign,
    add_deck,
    add_schedule,
    add_forget,
)  # in the order of the help


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    given = _parser().parse_args(arguments)
    try:
        return given.command(given)
    except (DataProblem, OSError) as problem:
        print(f"cxresearch: {problem}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("cxresearch: interrupted; nothing was kept of this run", file=sys.stderr)
        return INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="cxresearch",
        description="Customer-experience research: from a study file to a rendered report.",
        epilog="Exit status: 0 all well, 1 some notebook failed, 2 the study or the command line is wrong.",
    )
    parser.add_argument("--version", action="version", version=f"cxresearch {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", title="commands")
    for add in COMMANDS:
        add(commands)
    return parser
