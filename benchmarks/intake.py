"""`cxresearch check` on a file of a million rows: seconds and memory of the whole command, in its own process.

Run: ``python -m benchmarks.intake``. The file has an id, an account, a weight, a date, a net promoter item, six ratings
with missing and not-applicable codes and a region (43 MB); the limits are 5 s and 1 GB on an idle machine.
"""

import json
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
        "asked": np.array([f"2024-{m:02d}-{d:02d}" for m in range(1, 13) for d in range(1, 29)])[
            draw.integers(0, 336, rows)
        ],
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


# Peak memory is read by the process itself: what the parent reports would include its own size before the start.
CODE = """import sys, re, resource
from cxresearch.cli import main
status = main(["check", sys.argv[1], "--json"]) if len(sys.argv) > 1 else __import__("cxresearch.intake") and 0
used = resource.getrusage(resource.RUSAGE_SELF)
peak = re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]
print(used.ru_utime + used.ru_stime, int(peak) / 1024**2, file=sys.stderr)
sys.exit(status)
"""


def measure(*words: str) -> tuple[float, float, float, str]:
    """Return seconds, CPU seconds, peak memory in GB and the output of a check (or of the imports alone)."""
    before = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", CODE, *words], capture_output=True, text=True, check=True)
    cpu, memory = map(float, done.stderr.split()[-2:])
    return time.perf_counter() - before, cpu, memory, done.stdout


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = write_study(Path(folder), ROWS, seed=1)
        size = (Path(folder) / "answers.csv").stat().st_size / 1e6
        seconds, cpu, memory, out = measure(str(path))
        imports = measure()[1]
    rows = json.loads(out)["tables"][0]["rows"]
    print(f"{'rows':>10} {'MB':>6} {'check, s':>9} {'CPU, s':>7} {'of which imports':>17} {'peak, GB':>9}")
    print(f"{rows:>10,} {size:>6.0f} {seconds:>9.2f} {cpu:>7.2f} {imports:>17.2f} {memory:>9.2f}")
    limits = {"limit_seconds": 5, "limit_gigabytes": 1}
    print(json.dumps({"seconds": round(seconds, 2), "cpu": round(cpu, 2), "gigabytes": round(memory, 3)} | limits))


if __name__ == "__main__":
    main()
