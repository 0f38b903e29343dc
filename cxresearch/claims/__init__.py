"""Claims about customer experience, held against one's own data."""

from cxresearch.claims.verdicts import loyalty_ratios, published_claims, said_and_did, stated_shares, weigh_myths  # noqa: F401
