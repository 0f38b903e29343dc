"""Claims about customer experience, held against one's own data."""

from cxresearch.claims.myths import weigh_myths  # noqa: F401
from cxresearch.claims.shares import loyalty_ratios, published_claims, said_and_did, stated_shares  # noqa: F401
