"""Every sentence about segments, whole, with named values; and what features of behaviour are called in natural units."""

from collections.abc import Mapping
from string import Formatter

import numpy as np

from cxresearch.findings import number, percent, phrase

NOTHING = "bought nothing"  # the state of a customer whom a window does not hold

SENTENCES: Mapping[str, str] = {
    # how many
    "counted segments": "{k} segments are supported: of 1 to {most} tried on {n} customers, the most whose segments are all separated and stable.",
    "counted classes": "{k} classes are supported: of 1 to {most} tried on {n} customers, the number with the largest BIC.",
    "nothing counted segments": "No structure worth naming is established: none of 2 to {most} segments tried on {n} customers is both separated and stable.",
    "nothing counted classes": "No structure worth naming is established: of 1 to {most} classes tried on {n} customers, one has the largest BIC.",
    "votes": "Taken alone, {alone}.",
    "vote silhouette": "silhouette, which cannot say 1, would say {k}",
    "vote bic": "BIC would say {k}",
    "vote strength": "prediction strength would say {k}",
    "counted title": "{k} segments are supported",
    "nothing counted title": "No number of segments is supported",
    "counts unit": "stability and prediction strength, 0–1; dashed: stability required",
    "axis min_jaccard": "lowest Jaccard similarity",
    "axis prediction_strength": "prediction strength",
    # the segments
    "established": "{k} segments of {n} customers by {p} features are separated and stable (lowest Jaccard similarity {min_jaccard} over {n_boot} resamples). {profile}.",
    "profile": "{segment} ({share}): {name}; on average {description}",
    "hidden": "the rest are below the minimum base",
    "not stable": "{k} segments of {n} customers by {p} features are not established: in resamples they are not found again. Under the required Jaccard similarity of {stable} over {n_boot} resamples: {weak}; the sizes are {sizes}.",
    "weak": "{segment} ({words})",
    "weak hidden": "a segment below the minimum base",
    "fewer segments": "{k} segments of {n} customers by {p} features are not established; {supported} are the most that the data hold apart. Neighbouring segments are not separated: score {separation_score}, at most {limit} is required; prediction strength {prediction_strength}; the sizes are {sizes}.",
    "one segments": "No structure worth naming is established: the {k} segments of {n} customers by {p} features divide one cloud. Neighbouring segments are not separated: score {separation_score}, at most {limit} is required; prediction strength {prediction_strength}; the sizes are {sizes}.",
    "fewer classes": "{k} classes of {n} customers by {p} items are not established; {supported} are the most that the data hold apart. A smaller number has a larger BIC; prediction strength {prediction_strength}; the sizes are {sizes}.",
    "one classes": "No structure worth naming is established: the {k} classes of {n} customers by {p} items divide one. One class has a larger BIC; prediction strength {prediction_strength}; the sizes are {sizes}.",
    "size": "{segment} {share}",
    "optimiser": "The optimiser reached this solution from {starts_at_best} of {n_starts} starts only, so a better one may exist: raise n_starts before judging the segments.",
    "established title": "{k} segments are separated and stable",
    "doubtful title": "The {k} segments are not established",
    "segments unit": "standard deviations from all customers; below: segment and its share",
    "stability title": "{found} of {k} segments are found again in resampled customers",
    "stability unit": "mean Jaccard similarity to refits, 0–1; dashed: required",
    # who they are
    "differ": "{differing} of {tested} profile variables differ between segments of {n} customers; most does {top}.",
    "one differs": "1 of {tested} profile variables differs between segments of {n} customers: {top}.",
    "differs": "{top} differs between segments of {n} customers.",
    "association": "its {association} is {size} ({interval}), {in_words}",
    "same groups": "its groups agree with the segments at an adjusted Rand index of {rand}",
    "open": "not established: {open}",
    "clauses": "In numbers, {clauses}.",
    "no difference": "No difference between segments is established in {tested} profile variables of {n} customers.",
    "no difference in one": "No difference between segments is established in {open} ({n} customers).",
    "only behaviour": "Nothing but behaviour is known of the {n} customers, so nothing says who the segments are.",
    "no evidence": "The features that segments were made from are no evidence.",
    "no evidence, not real": "The features that segments were made from are no evidence, and the segments themselves are not established.",
    "not real": "The segments themselves are not established.",
    "profile title": "Variables that differ between segments: {differing} of {tested}",
    "profile unit": "size of the association, 0–1; grey: the basis, no evidence",
    # what they are worth
    "outcome": "{outcome} differs between segments of {n} customers, corrected for misclassification ({p}). The means are {means}.",
    "no outcome": "No difference in {outcome} between segments of {n} customers is established ({p}). The means are {means}.",
    "mean": "{segment} {estimate} ({interval})",
    "outcome title": "{outcome} differs between segments",
    "no outcome title": "No difference in {outcome} between segments is established",
    "outcome unit": "mean {unit}, {level} interval; dashed: all customers",
    # moves
    "stay": "Of {n} customers {stayed} stayed in their segment, {changed} moved to another and {bought_nothing} bought nothing.",
    "both": "Of the {both} who bought in both windows {stayed_both} stayed; the model's own errors would leave {stayed_expected} if nobody moved, and ways that vary would leave fewer: real moves are not established.",
    "sizes changed": "The sizes of segments changed (Stuart–Maxwell, {p}).",
    "sizes kept": "No change in the sizes of segments is established (Stuart–Maxwell, {p}).",
    "sizes changed, not real": "The sizes of segments changed (Stuart–Maxwell, {p}), but the segments themselves are not established.",
    "sizes kept, not real": "No change in the sizes of segments is established (Stuart–Maxwell, {p}), nor are the segments themselves.",
    "moves title": "{stayed} stayed in their segment, {bought_nothing} bought nothing",
    "moves unit": "% of the earlier segment (rows) in each later state (columns)",
    "moves hidden": "Not drawn: {segments} would be hidden whole, their cells being below the minimum base. The table has what may be shown",
    # the tool
    "tool": "From {items} items {accuracy} of {n} customers are assigned to their segment out of sample; always saying the largest would reach {base_rate}.",
    "poor tool": "The tool is not established: {accuracy} of {n} customers are assigned right, hardly more than the {base_rate} of the largest segment.",
    "circular": "Segments were made from {items}: accuracy on them is no evidence, since a rule is only learned again.",
    "unclassified": "{unclassified} stay unclassified, no segment being {floor} likely; of the others {accuracy_classified} are right (kappa {kappa}).",
    "all unclassified": "All stay unclassified, no segment being {floor} likely (kappa {kappa}).",
    "tool title": "{accuracy} are assigned to their segment, {base_rate} by always saying the largest",
    "tool unit": "% of the segment (rows) that the tool assigns to each (columns), out of sample",
}  # fmt: skip

# Feature -> more than others, less than others, and its mean in its own unit
FEATURES: Mapping[str, tuple[str, str, str]] = {
    "recency_days": ("long away", "here lately", "{days} days since the last purchase"),
    "frequency": ("frequent", "rare", "{value} purchases"),
    "monetary": ("much money", "little money", "{money} in all"),
    "basket_mean": ("large baskets", "small baskets", "{money} a purchase"),
    "returns": ("many returns", "few returns", "{value} returns"),
    "returns_share": ("many returns", "few returns", "{share} returns"),
    "discount_share": ("much money off", "little money off", "{share} money off"),
    "gap_mean_days": ("long gaps", "short gaps", "{days} days between purchases"),
    "active_months": ("many months", "few months", "{value} active months"),
    "breadth": ("many categories", "few categories", "{value} categories"),
    "contacts": ("many contacts", "few contacts", "{value} contacts"),
}
CHANNEL = ("much by {channel}", "little by {channel}", "{share} by {channel}")
OTHER = ("high {label}", "low {label}", "{label} {value}")
OF_SHARES = ("high {label}", "low {label}", "{label} {share}")
ITEM = ("more often {label}", "less often {label}", "{share} {label}")


def templates_of(feature: str, categorical: bool) -> tuple[str, str, str]:
    if categorical:
        return ITEM
    if feature.startswith("channel_") and feature.endswith("_share"):
        return CHANNEL
    return FEATURES.get(feature, OF_SHARES if feature.endswith("_share") else OTHER)


def in_words(feature: str, difference: float, label: str, *, categorical: bool = False) -> str:
    """Return what a segment is called by a feature in which it differs: ``large baskets``."""
    channel = feature.removeprefix("channel_").removesuffix("_share")
    return templates_of(feature, categorical)[int(difference < 0)].format(label=label, channel=channel)


def in_units(feature: str, mean: float, label: str, currency: str | None, *, categorical: bool = False) -> str:
    """Return a segment's mean of a feature in its natural unit: ``18.48 EUR a purchase``, ``85 % by web``."""
    money = number(mean, 0 if abs(mean) >= 100 else 2) + (f" {currency}" if currency else "")
    channel = feature.removeprefix("channel_").removesuffix("_share")
    values = dict(label=label, channel=channel, money=money, days=number(mean, 0), value=number(mean))
    share = percent(mean) if np.isfinite(mean) else "not available"
    return templates_of(feature, categorical)[2].format(**values, share=share)


def say(key: str, **values) -> str:
    """Return the sentence `key` with those of the values that it names."""
    named = {name for _, name, _, _ in Formatter().parse(SENTENCES[key]) if name}
    return phrase(SENTENCES, key, **{name: value for name, value in values.items() if name in named})
