"""Claims about customer experience, held against one's own data."""

from cxresearch.claims.myths import weigh_myths
from cxresearch.claims.ratios import loyalty_ratios
from cxresearch.claims.shares import published_claims, said_and_did, stated_shares

__all__ = ["loyalty_ratios", "published_claims", "said_and_did", "stated_shares", "weigh_myths"]
