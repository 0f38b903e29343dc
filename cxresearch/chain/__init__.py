"""The service-profit chain: do engaged employees go before satisfied customers, and do agents serve alike?"""

from cxresearch.chain.agents import agent_consistency, funnel, process_chart, rated_contacts, rater_agreement  # noqa: F401
from cxresearch.chain.units import lead_lag_units, service_profit_chain, unit_panel, unit_reliability  # noqa: F401
