"""Customer-experience research: a table goes in, a finding comes out. Names are imported when first used.

The examples in the help take these as given, and ``import cxresearch as cx``::

    study = cx.open_study("data/example/study.yml")
    drivers = ["products", "staff", "delivery"]
    matched = study.matched("responses", "customers", keep="latest")
    behaved = cx.behaviour(study.transactions, until="2025-01-01")
    segments = cx.segment_customers(behaved, features=["recency_days", "frequency"], n_segments=2, n_boot=10, seed=1)
"""

import importlib

__version__ = "0.2.0"

_PUBLIC = {
    "errors": "DataProblem StudyProblem TooFewRespondents", "findings": "Finding asked readable save",
    "figures": "use_theme", "weighting": "rake", "study": "open_study", "survey": "as_survey as_table",
    "simulate": "simulate_company", "board": "explore", "runs.notebooks": "study_of answer",
    "quality": "response_quality",
    "transactions": "behaviour link_revenue link_waves rated_contacts unit_panel window_halves",
    "metrics": "nps top_box mean_score effort compare_waves touchpoint_trend crosstab split_change plan_sample "
    "control_chart league_table restated_waves response_bias answer_spikes promoter_value",
    "segments": "segment_customers compare_segment_counts profile_segments compare_segments typing_tool "
    "assign_segments segment_migration",
    "loyalty": "fit_loyalty_revenue compare_revenue_models worth_of_a_point lead_lag specification_curve fit_retention "
    "loyalty_by_group",
    "programme": "acquisition cohort_retention fit_lifetime cost_ratios payback difference_in_differences interrupted_series",
    "drivers": "driver_importance compare_drivers penalty_reward halo_check importance_performance "
    "simulate_improvement scale_reliability",
    "journey": "journey_coverage journey_paths moments_of_truth channel_consistency handoff_penalty repeat_contacts "
    "time_to_resolve",
    "chain": "unit_reliability service_profit_chain lead_lag_units agent_consistency funnel process_chart rater_agreement",
    "claims": "loyalty_ratios stated_shares said_and_did weigh_myths published_claims",
    "voice": "tag_topics topic_impact tone_of_texts distinctive_words free_topics coding_sheet coding_agreement "
    "closed_loop",
}  # fmt: skip
_HOME = {name: module for module, names in _PUBLIC.items() for name in names.split()}
__all__ = sorted(_HOME)


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module 'cxresearch' has no attribute {name!r}")
    return globals().setdefault(name, getattr(importlib.import_module(f"cxresearch.{_HOME[name]}"), name))


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
