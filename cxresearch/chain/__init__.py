"""The service-profit chain: do engaged employees go before satisfied customers, and do agents serve alike?"""

from cxresearch.chain.agents import agent_consistency, rated_contacts, rater_agreement
from cxresearch.chain.charts import funnel, process_chart
from cxresearch.chain.linkage import lead_lag_units, service_profit_chain
from cxresearch.chain.units import unit_panel, unit_reliability

__all__ = [
    "agent_consistency",
    "funnel",
    "lead_lag_units",
    "process_chart",
    "rated_contacts",
    "rater_agreement",
    "service_profit_chain",
    "unit_panel",
    "unit_reliability",
]
