"""How long the data of a study may be used, and how old they may be."""

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from cxresearch.findings import number

AGE = re.compile(r"(\d+) ?(minute|hour|day|week)s?")


def overdue(delete_after: date | None, purpose: str | None, today: date | None) -> str | None:
    """Return why the data may not be used on `today` (by default the computer's date), or None if they may."""
    late = ((today or date.today()) - delete_after).days if delete_after else 0
    if late <= 0:
        return None
    said = f" ({purpose})" if purpose else ""
    return (
        f"the data were to be deleted after {delete_after}, {late} day{'s' * (late > 1)} ago; delete them, "
        f"or give privacy.delete_after a later date if their purpose{said} still needs them"
    )


def an_age(text: str) -> str:
    """Return `text` if it is an age such as ``3 days``; raise ValueError otherwise."""
    if not AGE.fullmatch(text.strip()) or not as_time(text):
        raise ValueError(f"{text!r} is no age; write 90 minutes, 12 hours, 3 days or 2 weeks")
    return text.strip()


def as_time(age: str) -> timedelta:
    """Return how long ``3 days`` is."""
    count, unit = AGE.fullmatch(age.strip()).groups()
    return timedelta(**{f"{unit}s": int(count)})


def stale(files: Iterable[Path], max_age: str | None, now: datetime | None) -> Iterator[str]:
    """Yield what is to be said of each file that is older than `max_age`; nothing where there is none."""
    for path in files if max_age else ():
        changed = datetime.fromtimestamp(path.stat().st_mtime, UTC)
        age = (now or datetime.now(UTC)) - changed
        if age > as_time(max_age):
            days, hours = age / timedelta(days=1), age / timedelta(hours=1)
            ago = f"{number(days, 0)} days ago" if days >= 2 else f"{number(hours)} hours ago"
            told = f"was last changed {ago}, on {changed:%Y-%m-%d %H:%M} UTC; max_age is {max_age}"
            yield f"{path.name} {told}; fetch it again, or raise max_age"
