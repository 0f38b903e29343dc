"""What findings of drivers say: whole sentences with named values, and what their columns are called."""

from cxresearch.findings import Check, describe_columns, interval, listing, number, percent, phrase

SENTENCES = {
    # driver_importance
    "first": "{first} goes with the largest share of what {k} drivers explain of {outcome}, {share}.",
    "first_tie": "{first} has the largest share of what {k} drivers explain of {outcome}, {share}, but it is a tie.",
    "no_interval": "No interval was asked for; together the drivers account for {explained}; {base}.",
    "share_ahead": "It is ahead of every other driver; together they account for {explained}; {base}.",
    "share_tied": "It is tied with {others}; together the drivers account for {explained}; {base}.",
    "share_open": "No driver can be told apart from it; together they account for {explained}; {base}.",
    "more": "Among {met}, a point more of its rating goes with {slope} more points of {outcome}, the others held.",
    "fewer": "Among {met}, a point more of its rating goes with {slope} fewer points of {outcome}, the others held.",
    "share_more": "Among {met}, a point more of its rating goes with {outcome} {slope} percentage points more often.",
    "share_fewer": "Among {met}, a point more of its rating goes with {outcome} {slope} percentage points less often.",
    "slope_open": (
        "Among {met}, it is not established that a point more of its rating goes with more or fewer points of "
        "{outcome} ({slope}), the others held."
    ),
    "chance": "Not established: the {k} drivers go with {outcome} no more than chance gives ({p}; {base}).",
    "chance_note": "They account for {explained}; no order of the drivers should be read from it.",
    "few_units": "No verdict: too few clusters to test whether {k} drivers go with {outcome} ({units}; {base}).",
    "stopped": "No verdict: {k} drivers of {outcome} cannot be told apart by so few of an answer ({rarest}; {base}).",
    "halo": "Not established which driver matters: what all ratings have in common accounts for it (halo, {p} against).",
    "halo_note": "{first} has the largest share, {share}; together the drivers account for {explained}; {base}.",
    # compare_drivers
    "alike": "Not established that the drivers of {outcome} differ between {k} groups.",
    "alike_note": "Compared are {groups}: {why}.",
    "differ": "{apart} of {all} shares in the drivers of {outcome} differ between {k} groups.",
    "differs": "1 of {all} shares in the drivers of {outcome} differs between {k} groups.",
    "compared": "Compared are {groups}.",
    "largest": (
        "The largest difference is {term}: {group} less {other} {difference} points of share ({interval}, all "
        "comparisons together)."
    ),
    "left_out": "Left out for want of answers: {groups}.",
    "by_chance": "In {groups} the drivers go with it no more than chance gives, or have too few clusters to tell.",
    "why_none": "no share's difference excludes zero when all {all} are looked at together",
    "why_chance": "in {groups} they go with it no more than chance gives",
    "why_few": "in {groups} there are too few clusters to tell",
    # importance_performance
    "rated": "{first} is rated {index} of 100; {lower} of the other {others} drivers are rated lower.",
    "rated_one": "{first} is rated {index} of 100; 1 of the other {others} drivers is rated lower.",
    "rated_other_lower": "{first} is rated {index} of 100, and the other driver lower.",
    "rated_other_higher": "{first} is rated {index} of 100, and the other driver no lower.",
    "map_ahead": "Its share is ahead of every other; {base}.",
    "map_tied": "Its share is tied with {others}; {base}.",
    "map_open": "No share can be told apart from it; {base}.",
    # penalty_reward
    "widest": "Between low and high ratings of {term} lie {points} points of {outcome}, the widest of {k} drivers.",
    "only": "Between low and high ratings of {term} lie {points} points of {outcome}.",
    "kinds": "Against what a straight line gives, {kinds}; an association, the other drivers held; {base}.",
    "no_kind": "For no driver does the interval allow a kind; an association, the other drivers held; {base}.",
    "flat": (
        "Not established: low and high ratings of {drivers} go with {outcome} no more than chance gives ({p}; {base})."
    ),
    "too_few": "Too few low, middle or high ratings: {drivers}.",
    # simulate_improvement
    "raised": "If {drivers} were rated higher as asked, the model predicts {points} more points of {outcome}.",
    "lowered": "If {drivers} were rated higher as asked, the model predicts {points} fewer points of {outcome}.",
    "raised_open": "If {drivers} were rated higher as asked, no change of {outcome} is established ({points} points).",
    "nps_up": "That is {points} NPS points more; the association carried over, not a tested change; {base}.",
    "nps_down": "That is {points} NPS points less; the association carried over, not a tested change; {base}.",
    "nps_open": "In NPS points that is {points}; the association carried over, not a tested change; {base}.",
    "carried": "That is the association carried over, not a tested change; {base}.",
    # halo_check
    "factor": "The first factor of {k} ratings holds {first} of their variance ({interval}; {base}).",
    "beyond_open": "Not established that any driver goes with {outcome} beyond what all ratings share ({p}).",
    "beyond_untested": (
        "With it held, the drivers account for {held} of the variance of {outcome} instead of {plain}; {why}."
    ),
    "beyond": (
        "With it held, the drivers account for {held} of the variance of {outcome} instead of {plain}; {term} has the "
        "largest share of that, {share}; {changes}. The common part may be halo or may be meant."
    ),
    "few_ratings": "whether that is beyond chance is not tested with fewer than 4 ratings",
    "few_clusters": "there are too few clusters to test whether that is beyond chance",
    "no_change": "no rank changes",
    "changes": "ranks change: {moves}",
    "move": "{term} {before} to {after}",
    # scale_reliability
    "alpha": "Cronbach's alpha: {scales}; {base}.",
    "weak": "Not established to reach 0.7: {scales}.",
    "same": "{a} and {b} hardly differ (HTMT {ratio}).",
}


def say(key: str, **values) -> str:
    """Return the sentence `key` with its values."""
    return phrase(SENTENCES, key, **values)


def base_of(summary) -> str:
    """Return ``n = 2,153``, with the effective base where rows are weighted."""
    effective = f", effective {number(summary['n_effective'], 0)}" if "n_effective" in summary else ""
    return f"n = {number(summary['n'], 0)}{effective}"


def with_interval(value: str, low: float, high: float, confidence: float, decimals: int = 1) -> str:
    """Return ``12.3 % (95 % interval 10.1 to 14.5)``, or the value alone where no interval was asked for."""
    return value if low != low else f"{value} ({interval(low, high, confidence, decimals)})"


def signed(value, low, high, confidence: float, decimals: int, scale: int = 1) -> tuple[int, str]:
    """Return the sign of a value, 0 where its interval holds zero, and its size in words, with the interval."""
    if low <= 0 <= high:
        return 0, with_interval(number(value, decimals), low, high, confidence, decimals)
    near, far = sorted((scale * abs(low), scale * abs(high)))
    words = with_interval(number(scale * abs(value), decimals), near, far, confidence, decimals)
    return (1 if value > 0 else -1), words


def none_of(name: str, found) -> Check:
    """Return the check that nothing was found, naming what was."""
    return Check(name, listing(map(str, found)), "none", not len(found))


def share_words(row, confidence: float, name: str = "share") -> str:
    """Return a share of a row of a table in percent, with its interval."""
    low, high = 100 * row[f"{name}_low"], 100 * row[f"{name}_high"]
    return with_interval(percent(row[name], 1), low, high, confidence)


describe_columns(
    per_point=("Points per point", "outcome points per rating point among those who met it, the others held", 3),
    n_met=("Met it", "rows that met the touchpoint; all rows where nobody is asked", 0),
    relative_weight=("Relative weight", "Johnson's relative weight as a share, 0-1", 3),
    correlation=("Correlation", "correlation of the rating with the outcome", 2),
    coefficient=("Coefficient", "standardised coefficient in the model of all drivers", 2),
    direction=("Direction", "sign of correlation and coefficient; conflict where they disagree"),
    share_exposed=("Share exposed", "share of respondents who met it, 0-1", 3),
    probability=("Probability", "share of the bootstrap draws, 0-1", 2),
    other=("Other term", "what the term is compared with"),
    told_apart=("Told apart", "whether the interval excludes no difference"),
    n_entered=("Other terms in", "how many other terms are already in the model", 0),
    other_group=("Other group", "what the group is compared with"),
    share_held=("Share, halo held", "share of what drivers explain beyond their common factor, 0-1", 3),
    rank_held=("Rank, halo held", "place by what the driver explains beyond the common factor", 0),
    loading=("Loading", "correlation of the rating with the first principal component", 2),
    rating_points=("Rating points", "by how much each rating is raised", 2),
    share_moved=("Share moved", "respondents whose rating has room to rise, 0-1", 3),
    nps_change=("NPS change", "change of the net promoter score, points", 1),
    penalty=("Penalty", "outcome points of a low rating against a middle one", 2),
    reward=("Reward", "outcome points of a high rating against a middle one", 2),
    asymmetry=("Asymmetry", "reward less size of penalty, over the sum of both, -1 to 1", 2),
    asymmetry_linear=("Asymmetry of a line", "asymmetry that a straight line gives with these thirds", 2),
    departure=("Departure", "asymmetry less that of a straight line", 2),
    asymmetry_kind=("Kind", "basic, performance or excitement, where the interval allows to say so"),
    omega=("Omega", "McDonald's omega of the scale's sum, of one factor", 3),
    standardised_alpha=("Standardised alpha", "Cronbach's alpha of the items' correlations", 3),
    n_items=("Items", "how many items the scale has", 0),
    n_boot=("Replicates", "bootstrap replicates", 0),
    r2=("R²", "explained by all drivers together, beyond controls (0-1)", 3),
    r2_held=("R², halo held", "explained beyond the ratings' common factor (0-1)", 3),
    halo_p_value=("Halo p", "p-value of the outcome going with the drivers only through what they share", 3),
    noise_floor=("Noise floor", "part of R² that a driver of random numbers would get on average", 4),
    first_factor=("First factor", "share of the ratings' variance on their first principal component, 0-1", 3),
    shapley=("Shapley", "share by the average over all orders, 0-1", 3),
    relative_weights=("Relative weights", "share by Johnson's relative weights, 0-1", 3),
    first=("Alone", "share by what each explains alone, 0-1", 3),
    last=("Added last", "share by what each adds to all others, 0-1", 3),
    rank_shapley=("Rank, Shapley", "place by the average over all orders", 0),
    rank_relative_weights=("Rank, relative weights", "place by relative weight", 0),
    rank_first=("Rank, alone", "place by what it explains alone", 0),
    rank_last=("Rank, added last", "place by what it adds to all others", 0),
)
