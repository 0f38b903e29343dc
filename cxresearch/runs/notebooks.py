"""The notebooks of a project: where they are, in which order they are read, and whether a kernel can execute them."""

import json
import sys
from contextlib import contextmanager
from pathlib import Path

import cxresearch
from cxresearch.errors import StudyProblem

ORDER = "intake scorecard effort promoters segmentation loyalty_revenue drivers service_profit_chain claims".split()
# those that come with the package: beside its source, or where a wheel puts them
OURS = (Path(cxresearch.__file__).resolve().parents[1] / "notebooks", Path(sys.prefix, "share/cxresearch/notebooks"))


def notebooks_folder(given=None) -> Path:
    """Return the folder of the notebooks: `given`, or ``notebooks/`` here or in the nearest parent, or the package's."""
    here = Path.cwd()
    candidates = [Path(given)] if given else [*(p / "notebooks" for p in (here, *here.parents)), *OURS]
    found = next((p for p in candidates if p.is_dir()), None)
    if found is None:
        where = f"there is no folder {given}" if given else "there is no folder 'notebooks' here or in a parent folder"
        raise StudyProblem(f"{where}; name the folder with --notebooks")
    if not any(found.glob("*.ipynb")):
        raise StudyProblem(f"folder {given or 'notebooks'} holds no notebook (*.ipynb)")
    return found.resolve()


def project_of(folder: Path) -> Path:
    """Return the project, which holds the notebooks and ``reports``; with the package's, the working folder."""
    return Path.cwd() if folder in OURS and not folder.is_relative_to(Path.cwd()) else folder.parent


def in_order(folder: Path) -> list[Path]:
    """Return the notebooks as they are to be read: those of `ORDER`, then by name; without those that ask somebody."""
    places = {name: place for place, name in enumerate(ORDER)}
    found = (path for path in folder.glob("*.ipynb") if not is_interactive(path))
    return sorted(found, key=lambda path: (places.get(path.stem, len(ORDER)), path.stem))


def is_interactive(path: Path) -> bool:
    """Return whether a notebook's metadata say that it waits for somebody's choices, so that no run can execute it."""
    try:
        metadata = json.loads(path.read_text(encoding="utf-8"))["metadata"]
        return bool(metadata.get("cxresearch", {}).get("interactive", False))
    except (ValueError, KeyError, TypeError, AttributeError, OSError):
        return False  # not a notebook: reading it says so


def read_notebook(path: Path):
    """Return the notebook without outputs; refuse one that no kernel here could execute."""
    with without_slow_grammar():
        import nbformat
    from jupyter_client.kernelspec import KernelSpecManager

    try:
        notebook = nbformat.v4.upgrade(nbformat.read(path, as_version=4))
    except (nbformat.reader.NotJSONError, nbformat.ValidationError, UnicodeDecodeError, AttributeError) as error:
        raise StudyProblem(f"{path.name} is not a notebook: {str(error).splitlines()[0]}") from None
    kernel = notebook.metadata.get("kernelspec", {}).get("name")
    if not kernel:
        raise StudyProblem(f"{path.name} names no kernel; open it in JupyterLab, choose one and save it")
    installed = sorted(KernelSpecManager().find_kernel_specs())
    if kernel not in installed:
        found = f"which is not installed; installed: {', '.join(installed)}"
        raise StudyProblem(f"{path.name} asks for the kernel {kernel!r}, {found}")
    return notebook


@contextmanager
def without_slow_grammar():
    """Import what imports jsonschema without a grammar of 0.9 s, for a format that no notebook uses.

    jsonschema does without when told that the package is absent.
    """
    slow = "rfc3987_syntax"
    absent = slow not in sys.modules and "jsonschema._format" not in sys.modules
    if absent:
        sys.modules[slow] = None
    try:
        yield
    finally:
        if absent:
            del sys.modules[slow]
