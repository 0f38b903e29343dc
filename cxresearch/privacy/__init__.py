"""Privacy: minimum base, suppression and its audit, keyed pseudonyms, direct identifiers, redaction."""

# ruff: noqa: F401, I001
# fmt: off
from cxresearch.privacy.audit import Leak, audit_folder, audit_tables
from cxresearch.privacy.identifiers import (
    PSEUDONYMS, PseudonymKey, environment_of_run, find_identifier, pseudonymise, study_key, unsorted,
)
from cxresearch.privacy.redaction import redact
from cxresearch.privacy.suppression import (
    MOST, POOLED, hidden_cells, hidden_of, hidden_values, hide_cells, hide_small_bases, largest_share, pool_small_groups,
    require_base,
)
