"""Every sentence of the room as a whole template with named values, keyed by id."""

from cxresearch.findings import phrase

TEMPLATES = {
    "reliable": "A mean of {item} by {by} can be told from chance: reliability {average} at {size} answers each ({j} units, n = {n}).",
    "unreliable": "That means of {item} differ by {by} is not established ({j} units, n = {n}).",
    "icc": "One answer owes {icc} of its variance to its unit ({span}); {weak} of {j} units have a reliability under {limit}.",
    "unknown": "How reliable a mean of {item} by {by} is, is unknown: the table holds means without their n and sd ({n} rows).",
    "stable": "Over {periods} periods the ICC of the means is {icc} ({span}): stability, not reliability.",
    "links": "All {k} links hold between {units} units, weakest {link}: r = {r} ({span}).",
    "links open": "That the whole chain holds is not established: {clear} of {k} links exclude zero in {units} units.",
    "links few": "Description only, {units} units and at least {least} are needed: r from {low} to {high}.",
    "indirect": "Of {cause} on {outcome}, {ab} standard deviations pass by way of {by} ({span}, Monte Carlo); an association.",
    "noisy": "Reliability of {items} is under {limit}: too noisy to link.",
    "raw only": "Reliability is not known: no correlation is corrected for it.",
    "first": "{cause} goes before {outcome}: {next} sd given the present ({next_span}), {within} within units ({within_span}); {units} units.",
    "together": "{cause} and {outcome} move together within units: {within} sd ({within_span}); which comes first is not known ({next} sd in the next period given the present, {next_span}); {units} units.",
    "not first": "That {cause} comes before {outcome} is not established in {units} units.",
    "few units": "Description only, {units} units and at least {least} are needed: {cause} and {outcome} in the same period {now} sd.",
    "lead also": "It goes with the period before ({lead}, {lead_span}) as with the next ({lag}, {lag_span}).",
    "lead clear": "That it goes with the period before is not established ({lead}, {lead_span}).",
    "reverse": "The reverse, given the past, is established as well: {back} ({back_span}).",
    "reverse open": "The reverse, given the past, is not established: {back} ({back_span}).",
    "alike": "Agents serve alike in {score}: they differ by {sd} points (sd, {span}), below the {worth} worth acting on.",
    "differ": "Agents do not serve alike in {score}: true means differ by {sd} points (sd, {span}; {j} agents, n = {n}).",
    "agents open": "Whether agents serve alike in {score} is not known: the sd between them is {sd} points ({span}; {j} agents, n = {n}).",
    "agents more": "95 % of agents lie within ±{range} points{mix}; ICC {icc} ({icc_span}); reliability .7 takes {contacts} contacts an agent.",
    "agents none": "No difference between agents{mix} shows: no number of contacts would tell them apart.",
    "raters": "Raters agree on {item}: Krippendorff's alpha {alpha} ({span}; {raters} raters, n = {n}).",
    "raters open": "That raters agree on {item} is not established: Krippendorff's alpha {alpha} ({span}; {raters} raters, n = {n}).",
    "funnel": "{first} lies outside what its base and the common spread allow; {k} of {units} units do (Holm).",
    "funnel calm": "No unit of {units} lies outside what its base and the common spread allow (Holm).",
    "funnel more": "Centre {centre}; chance alone puts {expected} of {units} beyond 3 sd; {spread}",
    "additive": "the units' own spread is {size} (sd), added to the limits.",
    "multiplicative": "the limits are {size} times as wide as chance alone would have them.",
    "plain limits": "the limits are those of chance alone.",
    "signals": "{what}: {k} signals, the clearest {first}, where {expected} false alarms are expected in {cells} points.",
    "signals open": "{what}: a change is not established, {k} signals where {expected} false alarms are expected in {cells} points.",
    "run length": "Rules {rules}: one false alarm in {length} points of a stable process; {baseline} periods set the centre.",
}  # fmt: skip


def say(key: str, **values) -> str:
    """Return the sentence `key` of the room."""
    return phrase(TEMPLATES, key, **values)
