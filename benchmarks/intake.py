"""`cxresearch check` on a file of a million rows: seconds and memory of the whole command, in its own process.

Run: ``python -m benchmarks.intake``. The file has an id, an account, a weight, a date, a net promoter item, six ratings
with missing and not-applicable codes and a region (92 MB); the limits are 5 s and 1 GB on an idle machine.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROWS = 1_000_000
RATINGS = 6
STUDY = """title: A million
tables:
  responses:
    source: answers.csv
    id: id
    weight: weight
    items:
      recommend: {scale: [0, 10], missing: [99], role: nps}
      asked: {role: asked_at}
      region: {role: demographic}
"""


def write_study(folder: Path, rows: int, seed: int) -> Path:
    """Write the file and its study, and return the path of the study."""
    draw = np.random.default_rng(seed)
    columns = {
        "id": np.arange(rows).astype(str),
        "weight": np.round(draw.uniform(0.5, 1.5, rows), 3).astype(str),
        "recommend": draw.choice([*range(11), 99], rows).astype(str),
        "asked": np.array([f"2024-{m:02d}-{d:02d}" for m in range(1, 13) for d in range(1, 29)])[draw.integers(0, 336, rows)],
        "region": np.array(["north", "south", "east", "west"])[draw.integers(0, 4, rows)],
    } | {f"q{i}": draw.choice([1, 2, 3, 4, 5, 6, 0], rows).astype(str) for i in range(RATINGS)}
    lines = columns["id"]
    for values in list(columns.values())[1:]:
        lines = np.char.add(np.char.add(lines, ","), values)
    (folder / "answers.csv").write_text(",".join(columns) + "\n" + "\n".join(lines) + "\n")
    items = "".join(
        f"      q{i}: {{scale: [1, 5], missing: [0], not_applicable: [6], role: driver}}\n" for i in range(RATINGS)
    )
    (folder / "study.yml").write_text(STUDY + items)
    return folder / "study.yml"


def measure(command: list[str]) -> tuple[float, float, str]:
    """Return seconds, peak memory in GB and the output of a command."""
    before = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    seconds = time.perf_counter() - before
    return seconds, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024**2, done.stdout


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = write_study(Path(folder), ROWS, seed=1)
        size = (Path(folder) / "answers.csv").stat().st_size / 1e6
        code = "import sys; from cxresearch.cli import main; sys.exit(main(['check', sys.argv[1], '--json']))"
        seconds, memory, out = measure([sys.executable, "-c", code, str(path)])
        start, _, _ = measure([sys.executable, "-c", "import cxresearch.intake"])
    rows = json.loads(out)["tables"][0]["rows"]
    print(f"{'rows':>10} {'MB':>6} {'check, s':>9} {'of which imports':>17} {'peak, GB':>9}")
    print(f"{rows:>10,} {size:>6.0f} {seconds:>9.2f} {start:>17.2f} {memory:>9.2f}")
    print(json.dumps({"seconds": round(seconds, 2), "limit_seconds": 5, "gigabytes": round(memory, 3), "limit_gigabytes": 1}))


if __name__ == "__main__":
    main()
