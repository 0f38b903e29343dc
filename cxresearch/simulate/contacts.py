"""Contacts with the service desk, and the agents who answer them."""

import numpy as np
import pandas as pd

from cxresearch.simulate.people import standardised

N_AGENTS = 20
CHANNELS = ("phone", "email", "chat", "shop")
CHANNEL_SHARES = (0.45, 0.25, 0.2, 0.1)
TOPIC_SHARES = {"delivery": 0.35, "returns": 0.25, "products": 0.2, "invoice": 0.2}
NOTES = {
    "delivery": ("parcel late, asked where it is", "delivery to the wrong address", "new delivery date wanted"),
    "returns": ("wants to return an item", "refund not yet paid", "asked for a return label"),
    "products": ("part missing", "question before buying", "item damaged"),
    "invoice": ("asked for a copy of the invoice", "charged twice", "discount not applied"),
}
RESOLVED_SHARE = 0.7
DAYS = 731  # 2024 and 2025


def invent_agents(*, planted, rng) -> pd.DataFrame:
    """Return the agents with the shift that each gives to support ratings: spread `agent_sd`, mean 0, exactly."""
    return pd.DataFrame(
        {
            "agent": [f"A{i:02d}" for i in range(1, N_AGENTS + 1)],
            "shift": planted["agent_sd"] * standardised(rng.standard_normal(N_AGENTS)),
        }
    )


def invent_contacts(people: pd.DataFrame, agents: pd.DataFrame, *, planted, rng) -> pd.DataFrame:
    """Return the contacts of 2024 and 2025 in order of time; who answers, and whether it helps, is left to chance."""
    who = np.repeat(np.arange(len(people)), rng.poisson(2 * people["segment"].map(planted["segment_contacts"])))
    n = len(who)
    topic = np.array(list(TOPIC_SHARES))[rng.choice(len(TOPIC_SHARES), size=n, p=list(TOPIC_SHARES.values()))]
    note = rng.integers(0, 3, size=n)
    drawn = pd.DataFrame(
        {
            "who": who,
            "at": np.datetime64("2024-01-01") + rng.integers(0, DAYS, size=n).astype("timedelta64[D]"),
            "channel": np.array(CHANNELS)[rng.choice(len(CHANNELS), size=n, p=CHANNEL_SHARES)],
            "topic": topic,
            "agent": agents["agent"].to_numpy()[rng.integers(0, len(agents), size=n)],
            "resolved": np.where(rng.random(n) < RESOLVED_SHARE, "yes", "no"),
            "note": [NOTES[t][i] for t, i in zip(topic, note)],
        }
    )
    return drawn.sort_values(["at", "who"], kind="stable", ignore_index=True)


def support_shift(contacts: pd.DataFrame, agents: pd.DataFrame, asked: np.ndarray, *, planted) -> np.ndarray:
    """Return how the last contact before the question moves the support rating; NaN without any contact.

    `asked` and the result are (people, quarters).
    """
    moved = contacts["agent"].map(agents.set_index("agent")["shift"]).to_numpy()
    moved = moved + planted["resolved_lift"] * ((contacts["resolved"] == "yes") - RESOLVED_SHARE)
    who, at = contacts["who"].to_numpy(), contacts["at"].to_numpy()
    shift = np.full(asked.shape, np.nan)
    for quarter in range(asked.shape[1]):
        before = at <= asked[who, quarter]
        last = pd.Series(moved[before]).groupby(who[before]).last()
        shift[last.index, quarter] = last
    return shift
