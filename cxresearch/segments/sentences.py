"""Every sentence about segments, whole, with named values; and what features of behaviour are called in natural units."""

from collections.abc import Mapping

import numpy as np

from cxresearch.findings import number, percent, words

NOTHING = "bought nothing"  # the state of a customer whom a window does not hold

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


say = words(__package__).told
