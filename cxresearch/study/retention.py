"""How long the data of a study may be used."""

from datetime import date


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
