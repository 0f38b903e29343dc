"""Customer-experience research: a table goes in, a finding comes out.

Names are imported when first used, so that ``import cxresearch`` costs nothing.
"""

import importlib

__version__ = "0.1.0"

_HOME = {
    "DataProblem": "errors",
    "StudyProblem": "errors",
    "TooFewRespondents": "errors",
    "Finding": "findings",
    "readable": "findings",
    "save": "findings",
    "use_theme": "figures",
    "open_study": "study",
    "behaviour": "transactions",
    "simulate_company": "simulate",
    "response_quality": "quality",
    "nps": "metrics",
    "top_box": "metrics",
    "effort": "metrics",
    "segment_customers": "segments",
    "fit_loyalty_revenue": "loyalty",
    "driver_importance": "drivers",
}
__all__ = sorted(_HOME)


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module 'cxresearch' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"cxresearch.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
