"""SPSS files: stored codes, and what the file says about them."""

from pathlib import Path

from cxresearch.errors import StudyProblem
from cxresearch.sources.reading import Choose, Meanings, RawTable, Reading


def read_spss(path: Path, choose: Choose, reading: Reading) -> RawTable:
    import pyreadstat

    if not path.stat().st_size:
        raise StudyProblem(f"{path.name} is empty")
    _, meta = pyreadstat.read_sav(str(path), metadataonly=True)
    names = [meta.column_names[p] for p in choose([list(meta.column_names)], len(meta.column_names))]
    encoding = reading.encoding[0] if reading.encoding else None
    # Values stay the stored codes, user-missing ones too: only the codebook can tell skipped from not applicable.
    frame, meta = pyreadstat.read_sav(
        str(path), usecols=list(dict.fromkeys(names)), apply_value_formats=False, user_missing=True, encoding=encoding
    )
    if meta.number_rows is not None and len(frame) != meta.number_rows:
        raise StudyProblem(
            f"{path.name} is cut off: it announces {meta.number_rows} rows and holds {len(frame)}; export it again"
        )
    return RawTable(frame[names], meanings=_meanings(meta))


def _meanings(meta) -> Meanings:
    ranges = {name: [(r["lo"], r["hi"]) for r in found] for name, found in meta.missing_ranges.items()}
    labels = {name: label.strip() for name, label in meta.column_names_to_labels.items() if label and label.strip()}
    return Meanings(labels, dict(meta.variable_value_labels), ranges)
