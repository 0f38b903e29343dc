"""Topics and tone of 100,000 comments in three languages, against VADER for sentiment; ``python -m benchmarks.voice``.

The comments are the simulator's, one or two in a row, each with two letters changed over, so that all of them differ
and words are many. CPU seconds are those of this process, one thread, reading and redaction included. VADER (English rules) is measured on a
tenth of the same texts if it is installed: it gives sentiment alone. ``--rows`` sets another size.
"""

import os

for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

import argparse  # noqa: E402
import importlib.util  # noqa: E402
import json  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402

BAR = {"cpu_s": ("<=", 3.0)}


def comments(rows: int):
    """Return `rows` texts, all different, of one or two comments of the simulated company, mistyped."""
    import numpy as np
    import pandas as pd

    import cxresearch as cx

    said = cx.open_study("data/example/study.yml").responses.table["comment"].dropna().tolist()
    rng, found = np.random.default_rng(1), {}
    while len(found) < rows:
        first, second = rng.integers(0, len(said), 2)
        text = f"{said[first]} {said[second]}" if second % 3 else said[first]
        at = rng.integers(0, len(text) - 1)
        found[text[:at] + text[at + 1] + text[at] + text[at + 2 :]] = None
    return pd.DataFrame({"said": list(found)})


def main(rows: int) -> int:
    """Print CPU seconds and the last line of JSON; return 1 where the bar is not met."""
    from cxresearch.voice.texts import read_texts

    table = comments(rows)
    read_texts(table[:100], "said").mentioned("negative")  # imports and word lists
    start = time.process_time()
    covered = float(read_texts(table, "said").mentioned("negative").any(axis=1).mean())
    found = {"rows": rows, "cpu_s": time.process_time() - start, "with_a_complaint": covered}
    if importlib.util.find_spec("vaderSentiment"):
        from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

        peer, start = SentimentIntensityAnalyzer(), time.process_time()
        for text in table["said"][: rows // 10]:
            peer.polarity_scores(text)
        found["vader_cpu_s"] = 10 * (time.process_time() - start)
        found["ratio"] = found["vader_cpu_s"] / found["cpu_s"]
    for name, value in found.items():
        print(f"{name:20} {value:,.3f}")
    met = found["cpu_s"] <= BAR["cpu_s"][1] * rows / 100_000
    print(json.dumps(found | {"met": met}))
    return 0 if met else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=100_000)
    sys.exit(main(parser.parse_args().rows))
