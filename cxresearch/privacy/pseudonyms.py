"""Keyed pseudonyms: the same id always gets the same pseudonym, and nobody without the key can go back or try ids out.

A plain hash of an e-mail address is undone by hashing a list of them; a keyed one is not. Each study has a key of its
own, so that its pseudonyms cannot be linked with another's. Pseudonymised data stay personal data (Krawczyk, Bellare &
Canetti 1997, RFC 2104: HMAC; Article 29 Working Party 2014, Opinion 05/2014).
"""

import hmac
import os
import re
import secrets
from collections.abc import Mapping
from functools import cache
from typing import NamedTuple

import pandas as pd

from cxresearch.errors import DataProblem, composed

KEY_VARIABLE = "CXRESEARCH_KEY"
KEY_OF_RUN = "CXRESEARCH_KEY_OF_RUN"  # set by a run for its kernels where there is no key, so that its notebooks agree
PSEUDONYMS = "pseudonyms"  # in the attrs of a table: its columns of pseudonyms
SHORTEST_KEY, LENGTH = 16, 20  # characters; hexadecimal digits: two of ten million ids collide with probability 4e-11


class PseudonymKey(NamedTuple):
    """The secret of one study (32 bytes), and whether it lasts: comes from the environment, and not from this process."""

    secret: bytes
    lasting: bool

    def __repr__(self) -> str:
        return f"PseudonymKey(lasting={self.lasting})"

    def said(self) -> str:
        """Return in a sentence where the key comes from and what follows from it."""
        if self.lasting:
            return f"Pseudonyms are keyed by {KEY_VARIABLE} and this study's title: they stay the same from run to run."
        return (
            f"{KEY_VARIABLE} is not set: pseudonyms are keyed at random and differ from run to run, so that people "
            "cannot be followed from one to the next."
        )


def study_key(title: str, *, environ: Mapping[str, str] | None = None) -> PseudonymKey:
    """Return the key of the study called `title`, from ``CXRESEARCH_KEY`` of `environ` (by default the process's).

    `DataProblem` if the variable holds fewer than 16 characters.
    """
    environ = os.environ if environ is None else environ
    master = environ.get(KEY_VARIABLE, "")
    if master and len(master) < SHORTEST_KEY:
        raise DataProblem(
            f"{KEY_VARIABLE} holds {len(master)} characters, which can be guessed; give it at least {SHORTEST_KEY}, "
            'for example from: python -c "import secrets; print(secrets.token_urlsafe(32))"'
        )
    secret = (master or environ.get(KEY_OF_RUN, "") or _random_secret()).encode()
    return PseudonymKey(_hmac(secret, f"cxresearch study: {looks_like(title)}"), bool(master))


def environment_of_run() -> dict[str, str]:
    """Return what a run adds to the environment of its kernels: a random key, unless there is a lasting one."""
    return {} if os.environ.get(KEY_VARIABLE) else {KEY_OF_RUN: _random_secret()}


def pseudonymise(ids: pd.Series, *, key: PseudonymKey) -> pd.Series:
    """Return the ids as ``p`` and 20 hexadecimal digits of HMAC-SHA-256, missing where an id is missing or blank.

    Ids that look the same get the same one (`looks_like`); leading zeros and capitals stay.
    """
    positions, values = pd.factorize(ids)
    texts = map(looks_like, values)
    made = pd.array([f"p{_hmac(key.secret, text).hex()[:LENGTH]}" if text else None for text in texts], dtype="str")
    return pd.Series(pd.api.extensions.take(made, positions, allow_fill=True), index=ids.index, name=ids.name)


def unsorted(found: pd.DataFrame, source: pd.DataFrame, column: str) -> pd.DataFrame:
    """Return a table with one row per id as `source` first names these, if they are pseudonyms.

    Their alphabet differs from key to key, and no result may.
    """
    if column not in source.attrs.get(PSEUDONYMS, ()):
        return found
    places = pd.Index(source[column].dropna().unique()).get_indexer(found[column])
    return found.iloc[places.argsort(kind="stable")].reset_index(drop=True)


def looks_like(value) -> str:
    """Return the text by which ids are compared: `composed`, ``17.0`` as ``17``."""
    return re.sub(r"^([+-]?\d+)\.0+$", r"\1", composed(value))


def _hmac(secret: bytes, text: str) -> bytes:
    return hmac.digest(secret, text.encode("utf-8", errors="surrogatepass"), "sha256")


@cache
def _random_secret() -> str:
    return secrets.token_urlsafe(32)
