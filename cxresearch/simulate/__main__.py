"""``python -m cxresearch.simulate FOLDER`` writes the six tables of the bundled company into FOLDER."""

import argparse
from pathlib import Path

from cxresearch.simulate import simulate_company
from cxresearch.simulate.company import EXAMPLE_SEED


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m cxresearch.simulate", description="Write a simulated company.")
    parser.add_argument("folder", type=Path, help="folder for the six CSV files")
    parser.add_argument("--seed", type=int, default=EXAMPLE_SEED, help="default: that of data/example (%(default)s)")
    arguments = parser.parse_args()
    company = simulate_company(seed=arguments.seed)
    company.write(arguments.folder)
    print(f"{company!r} -> {arguments.folder.as_posix()}")


if __name__ == "__main__":
    main()
