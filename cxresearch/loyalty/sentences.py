"""Every sentence of the room as a whole template with named values, keyed by id: one for each sign.

A finding says one sentence (it ends in a full stop) and further clauses, which stand in one more.
"""

from cxresearch.findings import interval, number, phrase

TEMPLATES = {
    # timing
    "no dates": "when score and revenue were measured is not stated",
    "no day": "on days that are not stated",
    "dates": "scores were given {asked}, and revenue counts from {starts} on",
    # fit_loyalty_revenue
    "point more": "One point more of {score} goes with {percent} % more {revenue} per customer ({interval}; n = {n}).",
    "point less": "One point more of {score} goes with {percent} % less {revenue} per customer ({interval}; n = {n}).",
    "point open": "What a point of {score} goes with in {revenue} is not established: {reasons}.",
    "reading more": "the model reads {percent} % more per point ({interval}; n = {n})",
    "reading less": "the model reads {percent} % less per point ({interval}; n = {n})",
    "money more": "in money that is {money} more ({interval}) on the average of the {rising} customers who can rise a point",
    "money less": "in money that is {money} less ({interval}) on the average of the {rising} customers who can rise a point",
    "held": "with {controls} held constant; an association, not a cause",
    "nothing held": "with nothing held constant; an association, not a cause",
    "bare more": "without controls it would read {percent} % more ({interval})",
    "bare less": "without controls it would read {percent} % less ({interval})",
    "strength": "the score accounts for {share} of the differences in revenue (deviance)",
    "weak": "the link is weak: the score accounts for {share} of the differences in revenue (deviance)",
    "bend": "the line is not straight ({p}): most of the change lies between {low} and {high}, so this is an average",
    "trap more": "the log-OLS trap: the coefficient alone reads {percent} % more, since revenue spreads differently in the score groups",
    "trap less": "the log-OLS trap: the coefficient alone reads {percent} % less, since revenue spreads differently in the score groups",
    # compare_revenue_models
    "models": "{k} models read what a point of {score} goes with in {revenue} as {low} to {high} % ({clear} intervals exclude zero; n = {n}).",
    "models open": "a headline is not established: {reasons}",
    "models suit": "revenue's variance grows as its mean to the power {park}, to which {suits} comes nearest; an association, not a cause",
    "models trap": "the log-OLS trap is here: its coefficient reads {naive} %, the means {percent} % ({interval}), since revenue spreads "
    "differently in the score groups",
    # specification_curve
    "choices more": "Under {k} choices of model, controls and capping, a point of {score} goes with {low} to {high} % more {revenue} (n = {n}).",
    "choices less": "Under {k} choices of model, controls and capping, a point of {score} goes with {low} to {high} % less {revenue} (n = {n}).",
    "choices open": "What a point of {score} goes with in {revenue} is not established: {k} choices read from {low} to {high} % (n = {n}).",
    "choices sides": "{above} of the intervals lie above zero and {below} below, and the median is {median} %",
    "choices default more": "the default, with all controls, reads {percent} % more ({interval}), number {rank} from the lowest; associations, "
    "not causes",
    "choices default less": "the default, with all controls, reads {percent} % less ({interval}), number {rank} from the lowest; associations, "
    "not causes",
    # loyalty_by_group
    "groups alike": "That a point of {score} goes with different {revenue} by {by} is not established ({p}; n = {n}).",
    "groups apart": "What a point of {score} goes with in {revenue} departs from the mean in {k} of {groups} groups by {by} (n = {n}).",
    "groups which": "these are {named}",
    "groups mean": "on the whole it is {percent} % per point ({interval}); associations, not causes",
    "groups own": "with fewer than four groups the spread between them is not estimable, so each stands as it is",
    # worth_of_a_point
    "worth more": "{what} goes with {money} more {revenue} for {whose} together ({interval}).",
    "worth less": "{what} goes with {money} less {revenue} for {whose} together ({interval}).",
    "worth average more": "{what} goes, on the average, with {money} more {revenue} for {whose} together ({interval}).",
    "worth average less": "{what} goes, on the average, with {money} less {revenue} for {whose} together ({interval}).",
    "worth open": "What {what} would be worth in {revenue} is not established: {reasons}.",
    "worth shown": "the table is shown, not to be quoted ({whose}; {rows} rows)",
    "worth each": "that is {money} a customer; an association, worth that much only as far as the score is the cause",
    "worth hidden": "a hidden cause as strong as {control} would leave {share} of it, by the linear model in levels, another model than the "
    "one that made the number",
    "worth cost": "its cost of {cost} for the same customers is covered if at least {share} of it is causal",
    "worth cost over": "its cost of {cost} for the same customers exceeds it even if all of it were causal",
    "worth cost never": "its cost of {cost} for the same customers is not covered, since the worth is not above zero",
    "those answered": "the {n} customers who answered",
    "population": "all {n} customers, by weight,",
    "population part": "the {n} customers, by weight, with {part}",
    # lead_lag
    "lead open": "What a point goes with is not established: the next period's score already goes with this period's revenue ({lead}; n = {n}).",
    "lead open why": "{revenue} and {score} move together before the score can matter, as when revenue comes first ({method})",
    "lead clear": "The next period's score does not go with this period's revenue ({lead}; n = {n}).",
    "lead now": "so nothing says that revenue comes first, and the link within a period stands ({now}; {method}; an association, not a cause)",
    "lead now open": "so nothing says that revenue comes first, but the link within a period is not established: the interval holds zero ({now}; "
    "{method}; an association, not a cause)",
    "lead effects": "customers' mean scores go with revenue beside the score itself (Mundlak), so customers differ, and there are too few periods "
    "of each to hold that constant",
    "no lead": "There is no lead to look at: {why}; whether {score} or {revenue} came first rests on their dates alone",
    "per point more": "{percent} % more per point, {interval}",
    "per point less": "{percent} % less per point, {interval}",
    # fit_retention
    "leaving lower": "One point more of {score} goes with a monthly chance to leave that is {points} points lower ({interval}; n = {n}).",
    "leaving higher": "One point more of {score} goes with a monthly chance to leave that is {points} points higher ({interval}; n = {n}).",
    "leaving open": "A link of {score} and leaving is not established: {reasons} (n = {n}).",
    "leaving base": "{leaving} of the customers left within {months} months; points are percentage points; an association, not a cause",
}


def say(key: str, **values) -> str:
    """Return one sentence or clause of the room."""
    return phrase(TEMPLATES, key, **values)


def told(first: str, *clauses: str) -> str:
    """Return a sentence, and one more that holds the further clauses."""
    more = "; ".join(clauses)
    return f"{first} {more[:1].upper()}{more[1:]}." if more else first


def signed(key: str, value: float) -> str:
    """Return the id of the template for the sign of `value`."""
    return f"{key} {'more' if value > 0 else 'less'}"


def money(value: float, currency: str | None, decimals: int = 2) -> str:
    """Return the size of an amount with its currency."""
    return f"{number(abs(value), decimals)} {currency or ''}".strip()


def size_interval(low: float, high: float, confidence: float, *, sign: float, decimals: int = 1, unit: str = "") -> str:
    """Return the interval of a size that `sign` turns into more or less: of "5.0 % less", 2.0 to 8.0."""
    low, high = (low, high) if sign > 0 else (-high, -low)
    return f"{interval(low, high, confidence, decimals)} {unit}".strip()


def percent_point(row, confidence: float, key: str = "per point", **values) -> str:
    """Return what a row with percent and its ends reads per point."""
    value = row["percent"]
    between = size_interval(row["percent_low"], row["percent_high"], confidence, sign=value)
    return say(signed(key, value), percent=number(abs(value)), interval=between, **values)
