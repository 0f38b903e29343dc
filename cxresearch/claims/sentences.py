"""Every sentence of the room as a whole template with named values, keyed by id."""

from cxresearch.findings import phrase

TEMPLATES = {
    "range": "{what}: loyal customers do so {low} to {high} times as often, over {k} definitions (n = {n}).",
    "none": "{what}: no definition has {least} answers in either group and somebody who did.",
    "open": "That the loyal do so more often is not established: {above} of {k} intervals lie above 1 (Holm).",
    "sure": "{above} of {k} intervals lie above 1 and {below} below (Holm); customary groups {ratio} ({span}).",
    "sure bare": "{above} of {k} intervals lie above 1 and {below} below (Holm).",
    "impossible": "A ratio of {claimed} is impossible here: it cannot exceed {most}; the odds ratio is {odds}.",
    "holds": "A ratio of {claimed} holds in the customary groups.",
    "smaller": "A ratio of {claimed} is too large for the customary groups ({p}).",
    "larger": "A ratio of {claimed} is too small for the customary groups ({p}).",
    "not established": "Whether a ratio of {claimed} holds is not established.",
    "circle": "Loyal is defined by the behaviour that the outcome repeats: a circle, and no evidence.",
    "one sided": "In {k} definitions nobody of the others did: only a lower limit is known.",
    "adjusted": "With {controls} held constant {ratio} ({span}; E-value {e}).",
    "shares": "{same} of {k} quoted shares are met within {margin} points, {off} are not (Holm). Here {first}.",
    "share": "{item} {own} ({span}, n = {n}) against {quoted} quoted",
    "exact": "Quoted shares count as exact: how many were asked is not known.",
    "with error": "Quoted shares have the error of {n} answers.",
    "more said": "{said} say so and {did} do: {gap} points more say it ({span}; {p}; n = {n}).",
    "more did": "{said} say so and {did} do: {gap} points more do it ({span}; {p}; n = {n}).",
    "as said": "{said} say so and {did} do: a difference is not established ({span}; {p}; n = {n}).",
    "calibration": "Of those who said it {of_said} did ({said_span}), of the others {of_others}.",
    "myths": "Of ten beliefs {refuted} are refuted here, {supported} supported, {open} open, {untested} cannot be tested (n = {n}).",
    "myths more": "Refuted: {names}. Intervals hold for all {k} tested together (Bonferroni).",
    "no myths": "Intervals hold for all {k} tested together (Bonferroni).",
}


def say(key: str, **values) -> str:
    """Return the sentence `key` of the room."""
    return phrase(TEMPLATES, key, **values)
