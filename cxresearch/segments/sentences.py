"""What is said of segments, and what features of behaviour are called in natural units: whole templates by id."""

from cxresearch.findings import number, percent, words

NOTHING = "bought nothing"  # the state of a customer whom a window does not hold
TEMPLATES = words(__package__)
say = TEMPLATES.told


def kind_of(feature: str, categorical: bool) -> str:
    """Return the feature, or kind of features (in brackets, which no feature has), that templates are kept under."""
    if categorical:
        return "(item)"
    share = feature.endswith("_share")
    if share and feature.startswith("channel_"):
        return "(channel)"
    return feature if f"mean {feature}" in TEMPLATES else "(share)" if share else "(other)"


def in_words(feature: str, difference: float, label: str, *, categorical: bool = False) -> str:
    """Return what a segment is called by a feature in which it differs: ``large baskets``."""
    channel = feature.removeprefix("channel_").removesuffix("_share")
    return say(f"{'less' if difference < 0 else 'more'} {kind_of(feature, categorical)}", label=label, channel=channel)


def in_units(feature: str, mean: float, label: str, currency: str | None, *, categorical: bool = False) -> str:
    """Return a segment's mean of a feature in its natural unit: ``18.48 EUR a purchase``, ``85 % by web``."""
    money = number(mean, 0 if abs(mean) >= 100 else 2) + (f" {currency}" if currency else "")
    channel = feature.removeprefix("channel_").removesuffix("_share")
    values = dict(label=label, channel=channel, money=money, days=number(mean, 0), value=number(mean))
    return say(f"mean {kind_of(feature, categorical)}", share=percent(mean), **values)
