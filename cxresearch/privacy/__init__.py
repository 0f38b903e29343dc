"""Privacy: minimum base, suppression and its audit, keyed pseudonyms, direct identifiers, redaction.

Names are imported when first used: an analysis that asks for the minimum base pays for nothing else.
"""

import importlib

_HOME = {
    "POOLED": "base",
    "hide_small_bases": "base",
    "pool_small_groups": "base",
    "require_base": "base",
    "hidden_cells": "suppression",
    "hide_cells": "suppression",
    "dominated_groups": "dominance",
    "guarded_base": "dominance",
    "largest_share": "dominance",
    "PSEUDONYMS": "pseudonyms",
    "PseudonymKey": "pseudonyms",
    "unsorted": "pseudonyms",
    "study_key": "pseudonyms",
    "environment_of_run": "pseudonyms",
    "pseudonymise": "pseudonyms",
    "Identifier": "identifiers",
    "find_identifiers": "identifiers",
    "redact": "redaction",
    "Leak": "audit",
    "audit_tables": "audit",
    "audit_folder": "audit",
}
__all__ = sorted(_HOME)


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module 'cxresearch.privacy' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"cxresearch.privacy.{_HOME[name]}"), name)
    globals()[name] = value
    return value
