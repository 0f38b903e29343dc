"""Tables read once and lent to the kernels of a batch.

They lie in a file that has no name (Linux), or in one that only the owner can read and that goes with the batch. An
environment variable tells kernels; where it is gone (another machine), one reads the study's files as always.
"""

import os
import pickle
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cxresearch.errors import StudyProblem

VARIABLE = "CXRESEARCH_TABLES"
DESCRIPTORS = Path("/proc/self/fd")


def signature(study) -> dict[str, tuple[int, int]]:
    """Return file -> size and time of change (ns) of the study and everything it names."""
    files = [Path(study.path), *study.files]
    return {str(f.resolve()): (f.stat().st_size, f.stat().st_mtime_ns) for f in files}


@contextmanager
def shared_tables(study, folder: Path, *, seen: dict) -> Iterator[dict[str, str]]:
    """Lend a whole study's tables, read when its `signature` was `seen`, to kernels that are given what is yielded."""
    unnamed, token = DESCRIPTORS.is_dir(), secrets.token_hex(16)
    opened = tempfile.TemporaryFile if unnamed else tempfile.NamedTemporaryFile
    with opened(dir=folder if unnamed else None, prefix="cxr-") as file:
        tables = [pickle.dumps(study.read(name), protocol=5) for name in study.table_names]
        head = {"signature": seen, "sizes": dict(zip(study.table_names, map(len, tables)))}
        file.writelines([token.encode(), pickle.dumps(head), *tables])
        file.flush()
        tables.clear()
        yield {VARIABLE: f"{token} {f'/proc/{os.getpid()}/fd/{file.fileno()}' if unnamed else file.name}"}


def lent_table(study, name: str):
    """Return a table that a batch lends, or None where it lends none of this study; refused if a file changed since."""
    token, _, place = os.environ.get(VARIABLE, "").partition(" ")
    with suppress(OSError), open(place, "rb") as file:
        foreign = hasattr(os, "getuid") and os.fstat(file.fileno()).st_uid != os.getuid()
        # A pickle is only as trustworthy as its owner; a batch that is over left its number to another file.
        if foreign or file.read(len(token)) != token.encode():
            return None
        head = pickle.load(file)
        if str(Path(study.path).resolve()) not in head["signature"]:
            return None
        require_unchanged(head["signature"], signature(study), "since this run began")
        names = list(head["sizes"])
        file.seek(sum(head["sizes"][other] for other in names[: names.index(name)]), os.SEEK_CUR)
        return pickle.load(file)
    return None


def require_unchanged(before: dict, now: dict, when: str) -> None:
    """Raise `StudyProblem` if two signatures of a study differ."""
    changed = sorted(Path(file).name for file in {*before, *now} if before.get(file) != now.get(file))
    if changed:
        raise StudyProblem(f"{', '.join(changed)} changed {when}; start again when the files are complete")
