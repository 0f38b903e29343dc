"""Contacts with the service desk, the agents who answer them, and what becomes of them: cases, waits, hand-offs, returns.

What becomes of a contact is drawn after the answers, from streams of its own. `support` in the survey speaks of the
first contacts; customers who come back, and cases that are handed on, are known to `contact_rating` alone.
"""

import numpy as np
import pandas as pd

from cxresearch.simulate.people import BRANCHES, standardised
from cxresearch.simulate.truth import WORLD

N_AGENTS, N_TREATED = 20, 12
CHANNELS, TOPICS, OWNERS, NOTES = (WORLD["contacts"][k] for k in ("channels", "topics", "owners", "notes"))
RESOLVED_SHARE = 0.7
DAYS, END = 731, np.datetime64("2025-12-31T23:59")  # 2024 and 2025
PROGRAMME_FROM, DRIFTS_FROM = np.datetime64("2025-01-01"), np.datetime64("2025-07-01")
WAIT_MINUTES, HOURS = 8.0, 20.0
DRIFTING, SECOND_LINE = "A13", ("A01", "A02", "A03", "A04", "A05")  # the second line gets the complaints
RATING_MEAN, RATING_NOISE = 4.7, 1.0
AGAIN_WITHIN = 7  # days


def _one_of(shares: dict[str, float], n: int, *, rng) -> np.ndarray:
    return np.array(list(shares))[rng.choice(len(shares), size=n, p=list(shares.values()))]


def invent_agents(*, planted, rng) -> pd.DataFrame:
    """Return the agents with the shift that each gives to support ratings: spread `agent_sd`, mean 0, exactly."""
    names = [f"A{i:02d}" for i in range(1, N_AGENTS + 1)]
    return pd.DataFrame({"agent": names, "shift": planted["agent_sd"] * standardised(rng.standard_normal(N_AGENTS))})


def invent_contacts(people: pd.DataFrame, agents: pd.DataFrame, *, planted, rng) -> pd.DataFrame:
    """Return the contacts of 2024 and 2025 in order of time; who answers, and whether it helps, is left to chance."""
    who = np.repeat(np.arange(len(people)), rng.poisson(2 * people["segment"].map(planted["segment_contacts"])))
    n = len(who)
    topic, note = _one_of(TOPICS, n, rng=rng), rng.integers(0, 3, size=n)
    at = np.datetime64("2024-01-01") + rng.integers(0, DAYS, size=n).astype("timedelta64[D]")
    drawn = pd.DataFrame({"who": who, "at": at, "channel": _one_of(CHANNELS, n, rng=rng), "topic": topic})
    drawn["agent"] = agents["agent"].to_numpy()[rng.integers(0, len(agents), size=n)]
    drawn["resolved"] = np.where(rng.random(n) < RESOLVED_SHARE, "yes", "no")
    drawn["note"] = [NOTES[t][i] for t, i in zip(topic, note)]
    return drawn.sort_values(["at", "who"], kind="stable", ignore_index=True)


def _desk_shift(contacts: pd.DataFrame, agents: pd.DataFrame, planted) -> pd.Series:
    """Return how the agent, and whether it helped, move the rating of each contact."""
    resolved = planted["resolved_lift"] * ((contacts["resolved"] == "yes") - RESOLVED_SHARE)
    return contacts["agent"].map(agents.set_index("agent")["shift"]) + resolved


def support_shift(contacts: pd.DataFrame, agents: pd.DataFrame, asked: np.ndarray, *, planted) -> np.ndarray:
    """Return how the last contact before the question moves the support rating; NaN without any contact.

    `asked` and the result are (people, quarters).
    """
    moved = _desk_shift(contacts, agents, planted)
    who, at = contacts["who"].to_numpy(), contacts["at"].to_numpy()
    shift = np.full(asked.shape, np.nan)
    for quarter in range(asked.shape[1]):
        before = at <= asked[who, quarter]
        shift[who[before], quarter] = moved[before]  # in order of time: the last one stays
    return shift


def treated_branches(*, rng) -> list[str]:
    """Return the branches where the programme runs."""
    return sorted(rng.choice(BRANCHES, size=N_TREATED, replace=False).tolist())


def follow_contacts(contacts: pd.DataFrame, people: pd.DataFrame, treated: list[str], *, planted, rng) -> pd.DataFrame:
    """Return contacts and repeated ones in order of time, each with its case, waiting time, matter and closing time."""
    minute = rng.integers(8 * 60, 20 * 60, size=len(contacts)).astype("timedelta64[m]")
    first = contacts.assign(
        opened_at=contacts["at"].to_numpy().astype("datetime64[m]") + minute, again=False, switched=False
    )
    every = [first]
    while len(every[-1]):
        every.append(_again(every[-1], planted=planted, rng=rng))
    found = pd.concat(every, ignore_index=True).sort_values(["opened_at", "who"], kind="stable", ignore_index=True)
    n, agent = len(found), found["agent"].to_numpy()
    complains = np.where(np.isin(agent, SECOND_LINE), *(planted["complaint_share"][k] for k in ("second", "first")))
    found["matter"] = np.where(rng.random(n) < complains, "complaint", "question")
    found["wait"] = np.round(_waits(found, people, treated, planted=planted, rng=rng), 1)
    return _closed(found, planted=planted, rng=rng)


def _again(contacts: pd.DataFrame, *, planted, rng) -> pd.DataFrame:
    """Return who comes back on the same topic within seven days, by whether the contact resolved it."""
    chance = np.where(contacts["resolved"] == "yes", planted["repeat_if_resolved"], planted["repeat_if_unresolved"])
    back = contacts[rng.random(len(contacts)) < chance]
    n = len(back)
    opened = back["opened_at"] + (rng.uniform(0.5, AGAIN_WITHIN - 0.1, size=n) * 1440).astype("timedelta64[m]")
    channel = _one_of(CHANNELS, n, rng=rng)
    found = back.assign(
        opened_at=opened, at=opened.dt.normalize(), again=True, switched=channel != back["channel"], channel=channel,
        agent=[f"A{i:02d}" for i in rng.integers(1, N_AGENTS + 1, size=n)],
        resolved=np.where(rng.random(n) < RESOLVED_SHARE, "yes", "no"),
    )  # fmt: skip
    return found[found["opened_at"] <= END]


def _waits(contacts: pd.DataFrame, people: pd.DataFrame, treated: list[str], *, planted, rng) -> np.ndarray:
    """Return minutes: log-normal about a trend, with branch and month (AR(1)) shocks, the programme and the drift."""
    months = DAYS // 30 + 1
    shock = rng.standard_normal((len(BRANCHES), months))
    for month in range(1, months):
        shock[:, month] = 0.5 * shock[:, month - 1] + np.sqrt(0.75) * shock[:, month]
    lasting = 0.2 * standardised(rng.standard_normal(len(BRANCHES)))
    branch = people["branch"].to_numpy()[contacts["who"]]
    b, opened = np.searchsorted(BRANCHES, branch), contacts["opened_at"].to_numpy()
    month = (opened - np.datetime64("2024-01-01")).astype("timedelta64[D]").astype(int) // 30
    log = np.log(WAIT_MINUTES) + planted["wait_trend"] * month + lasting[b] + 0.15 * shock[b, month]
    log += 0.5 * rng.standard_normal(len(contacts))
    log += np.log(planted["programme_wait_ratio"]) * (np.isin(branch, treated) & (opened >= PROGRAMME_FROM))
    return np.exp(log + np.log(planted["agent_drift"]) * ((contacts["agent"] == DRIFTING) & (opened >= DRIFTS_FROM)))


def _closed(contacts: pd.DataFrame, *, planted, rng) -> pd.DataFrame:
    """Add hardness (nobody sees it), the moment of a hand-off, if the case is still open by then, and the closing."""
    n = len(contacts)
    hard = rng.random(n) < planted["hard_share"]
    hours = HOURS * rng.gamma(2.0, 0.5, size=n) * np.where(hard, planted["hard_hours_ratio"], 1.0)
    meant = rng.random(n) < planted["handoff_share"]  # whatever the case: hard ones are only open longer
    after = rng.exponential(2 * HOURS, size=n)
    handed = meant & (after < hours)
    hours = np.where(handed, after + (hours - after) * planted["handoff_hours_ratio"], hours)
    opened = contacts["opened_at"].to_numpy()
    moment = {"closed_at": opened + (60 * hours + 1).astype("timedelta64[m]")}
    moment["handed_at"] = np.where(handed, opened + (60 * after).astype("timedelta64[m]"), np.datetime64("NaT", "m"))
    moment = {name: np.where(when <= END, when, np.datetime64("NaT", "m")) for name, when in moment.items()}
    ids = {name: [f"{sign}{i:05d}" for i in range(1, n + 1)] for name, sign in (("contact_id", "K"), ("case_id", "T"))}
    return contacts.assign(hard=hard, owner="Service", **moment, **ids)


def with_steps(contacts: pd.DataFrame, *, rng) -> pd.DataFrame:
    """Return contacts and, for each hand-off, a row of the desk's own: no customer, channel or topic, another owner."""
    handed = contacts[contacts["handed_at"].notna()]
    steps = handed.assign(
        opened_at=handed["handed_at"], at=handed["handed_at"].dt.normalize(), owner=handed["topic"].map(OWNERS),
        contact_id="H" + handed["contact_id"].str[1:], note="handed on",
        agent=[f"A{i:02d}" for i in rng.integers(1, N_AGENTS + 1, size=len(handed))],
        **dict.fromkeys(("channel", "topic", "resolved", "matter", "customer_id")), wait=np.nan,
    )  # fmt: skip
    steps = steps.astype({"customer_id": contacts["customer_id"].dtype})
    return pd.concat([contacts, steps]).sort_values(["opened_at", "contact_id"], ignore_index=True)


def rate_contacts(contacts: pd.DataFrame, agents: pd.DataFrame, *, planted, rng) -> np.ndarray:
    """Return the rating (1-7) that each contact would get."""
    shift = contacts["channel"].map(planted["channel_shift"]) + _desk_shift(contacts, agents, planted)
    shift += planted["switch_on_rating"] * contacts["switched"]
    shift += planted["complaint_on_rating"] * (contacts["matter"] == "complaint")
    return np.clip(np.rint(RATING_MEAN + shift + RATING_NOISE * rng.standard_normal(len(contacts))), 1, 7)


def rated_contact(answers: pd.DataFrame, contacts: pd.DataFrame) -> np.ndarray:
    """Return, for each answer, the position of the person's last contact before that day, or -1."""
    asked = answers[["who", "asked_on"]].assign(at=answers["asked_on"].astype("datetime64[s]"), row=range(len(answers)))
    when = contacts["opened_at"].astype("datetime64[s]")
    told = contacts[["who", "opened_at"]].assign(at=when, place=range(len(contacts)))
    found = pd.merge_asof(asked.sort_values("at"), told.sort_values("at", kind="stable"), on="at", by="who")
    return found.set_index("row")["place"].reindex(range(len(answers))).fillna(-1).astype(int).to_numpy()
