"""What the audit takes: one report, and 200 reports of a batch beside the whole; ``python -m benchmarks.privacy``.

The study is an ordinary one, 2,000 answers in four waves, its smallest group 2 % of them; the batch divides 60,000
answers among 200 branches of ten regions; its reports on branches are not executed, only what they tell is written.
Seconds are CPU seconds of this process.
"""

import json
import os
import sys
import tempfile
import time
from contextlib import redirect_stdout
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

import cxresearch as cx
from cxresearch.errors import DataProblem
from cxresearch.findings import RUN_FOLDER

BARS = {"one report, s": 5.0, "200 reports, s": 60.0}
STUDY = """\
title: Ordinary
currency: EUR
waves: [2024Q1, 2024Q2, 2024Q3, 2024Q4]
privacy: {minimum_base: 10}
tables:
  responses:
    source: answers.csv
    id: person
    wave: wave
    customer: customer
    items:
      recommend: {scale: [0, 10], role: nps}
      satisfaction: {scale: [1, 7], role: csat}
      region: {role: demographic}
      branch: {role: demographic}
      age: {role: demographic}
  customers:
    source: customers.csv
    id: customer
    revenue: {column: revenue, from: 2024-01-01, to: 2024-12-31}
"""


def write_study(folder: Path, rng, *, n=2000, branches=8, least=0.02) -> Path:
    """Write a study of `branches` (the smallest with a share `least` of the answers) in at most ten regions."""
    shares = np.append(rng.dirichlet(np.full(branches - 1, 8.0)) * (1 - least), least)
    branch = rng.choice(branches, size=n, p=shares)
    table = pd.DataFrame({"person": [f"p{i}" for i in range(n)], "customer": [f"c{i}" for i in range(n)]})
    table["branch"] = [f"B{b:03}" for b in branch]
    table["region"] = [f"R{b % min(10, branches // 2)}" for b in branch]
    table["age"] = rng.choice(["18-34", "35-54", "55+"], size=n, p=[0.3, 0.4, 0.3])
    table["wave"] = rng.choice([f"2024Q{q}" for q in (1, 2, 3, 4)], size=n)
    answers = {"recommend": rng.integers(0, 11, n), "satisfaction": rng.integers(1, 8, n)}
    for name, values in answers.items():
        table[name] = np.where(rng.random(n) < 0.03, "", values.astype(str))
    folder.mkdir(parents=True, exist_ok=True)
    table.to_csv(folder / "answers.csv", index=False)
    money = pd.DataFrame({"customer": table["customer"], "revenue": rng.gamma(1.0, 200.0, n).round(2)})
    more = pd.DataFrame(
        {"customer": [f"d{i}" for i in range(n // 3)], "revenue": rng.gamma(1.0, 180.0, n // 3).round(2)}
    )
    pd.concat([money, more]).to_csv(folder / "customers.csv", index=False)
    (folder / "study.yml").write_text(STUDY, encoding="utf-8")
    return folder / "study.yml"


def save_report(study: str, place: Path) -> int:
    """Save what a scorecard and the pages on revenue find, as a run would in `place`; return how many findings."""
    data = cx.open_study(study)
    made = 0

    def keep(name: str, analysis, *arguments, **options) -> None:
        nonlocal made
        try:
            cx.save(analysis(*arguments, **options), name=name)
            made += 1
        except DataProblem:
            pass

    os.environ[RUN_FOLDER] = str(place / "findings" / "scorecard")
    with redirect_stdout(None):
        answers = data.responses
        groupings = data.columns("demographic")
        for item, measure in (("recommend", cx.nps), ("satisfaction", cx.mean_score)):
            keep(item, measure, answers, item)
            keep(f"{item}_waves", measure, answers, item, wave=True)
            for by in groupings:
                keep(f"{item}_{by}", measure, answers, item, by=by)
                keep(f"{item}_{by}_waves", measure, answers, item, by=by, wave=True)
        keep("changes", cx.compare_waves, answers, "recommend")
        for by in groupings:
            keep(f"mix_{by}", cx.split_change, answers, "recommend", by=by)
            keep(f"crosstab_{by}", cx.crosstab, answers, "satisfaction", by)
        os.environ[RUN_FOLDER] = str(place / "findings" / "value")
        matched = data.matched("responses", "customers", answered="recommend")
        keep("value", cx.promoter_value, matched, "recommend", value="revenue", unit="EUR")
        asked = dict(customer="customer", behaviour=["revenue"])
        keep("bias", cx.response_bias, data.customers, answers, "recommend", **asked)
    return made


def save_parts(study: Path, report: Path, place: Path, names: set[str]) -> int:
    """Write what reports on the branches tell of two questions: the records of an executed report, each with the counts of
    its own people, hidden as is decided for the whole study; return how many findings.
    """
    answers, made = cx.open_study(study).responses, 0
    for item in ("recommend", "satisfaction"):
        sample = answers.sample(answers.table[item].notna(), by="branch", of=(item,))
        assert not sample.hidden.any()
        lattice = list(answers.decided.values())[-1]  # of the last question
        for by, wave in product((None, "age"), (False, True)):
            name = "_".join([item, *([by] if by else []), *(["waves"] if wave else [])])
            record = json.loads((report / "findings" / "scorecard" / f"{name}.json").read_text(encoding="utf-8"))
            keys = ["branch", *([by] if by else []), *(["wave"] if wave else [])]
            code, gone = lattice.hidden(keys)
            rows = answers.table.iloc[sample.rows][keys].assign(gone=gone[code[sample.rows]])
            told = rows.groupby(keys, as_index=False, observed=True).agg(n=("gone", "size"), gone=("gone", "any"))
            for branch, rows in told[told["branch"].isin(names)].rename(columns={by: "group"}).groupby("branch"):
                folder = place / branch / "findings" / "scorecard"
                folder.mkdir(parents=True, exist_ok=True)
                shown = rows.assign(n=rows["n"].mask(rows["gone"]), estimate=1.0).drop(columns=["branch", "gone"])
                shown.to_csv(folder / f"{name}.tidy.csv", index=False)
                about = {"glance": {"n": int(rows["n"].sum())}, "tables": {"tidy": f"{name}.tidy.csv"}}
                (folder / f"{name}.json").write_text(json.dumps(record | about), encoding="utf-8")
                made += 1
    return made


def main() -> int:
    from cxresearch.privacy.audit import audit_folder
    from cxresearch.runs.plan import cells_of
    from cxresearch.runs.withhold import known_of, withheld_together

    found = {}
    with tempfile.TemporaryDirectory() as made:
        folder, rng = Path(made), np.random.default_rng(2029)
        study = write_study(folder / "one", rng)
        findings = save_report(str(study), folder / "report")
        start = time.process_time()
        withheld = audit_folder(folder / "report" / "findings", known_of(cx.open_study(study)))
        found["one report, s"] = time.process_time() - start
        print(f"{findings} findings, {len(withheld)} withheld")
        study = write_study(folder / "many", rng, n=60_000, branches=200, least=0.004)
        opened = cx.open_study(study)
        cells = cells_of(opened, ["branch"], whole=True)
        made = {cell.name for cell in cells if cell.name and not cell.skip}
        findings = save_parts(study, folder / "report", folder / "batch", made)
        start = time.process_time()
        gone = withheld_together(cells, folder / "batch", opened)
        found["200 reports, s"] = time.process_time() - start
        print(f"{len(made)} reports of {findings} findings, {len(gone)} with findings withheld")
    for name, value in found.items():
        print(f"{name:20} {value:8.2f} (at most {BARS[name]:g})")
    met = all(found[name] <= bar for name, bar in BARS.items())
    print(json.dumps({**{k: round(v, 2) for k, v in found.items()}, "bars": BARS, "met": met}))
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
