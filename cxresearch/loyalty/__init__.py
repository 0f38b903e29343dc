"""Revenue against loyalty; what a point is worth.

References
----------
Reichheld (2003), HBR 81(12):46-54 (promoter 9-10, passive 7-8, detractor 0-6). Models: Gourieroux, Monfort & Trognon
(1984), Econometrica 52:701-720; Santos Silva & Tenreyro (2006), Rev. Econ. Stat. 88:641-658 (Poisson with zeros); Duan
(1983), JASA 78:605-610 (smearing); Manning (1998), J. Health Econ. 17:283-295 (log-OLS when spreads differ); Manning &
Mullahy (2001), J. Health Econ. 20:461-494 (Park test); Harrell (2015), *Regression Modeling Strategies*, 2.4.5 (splines).
Errors: MacKinnon & White (1985), J. Econometrics 29:305-325 (HC1); Binder (1983), Int. Stat. Rev. 51:279-292 (survey);
Cameron, Gelbach & Miller (2008), Rev. Econ. Stat. 90:414-427, and (2011), JBES 29:238-249 (clusters, two ways); Hall
(1988), Ann. Statist. 16:927-953 (bootstrap-t). Effects: Hausman, Hall & Griliches (1984), Econometrica 52:909-938;
Wooldridge (1999), J. Econometrics 90:77-97; Correia, Guimaraes & Zylkin (2020), Stata J. 20:95-115; Mundlak (1978),
Econometrica 46:69-85; Granger (1969), Econometrica 37:424-438 (leads); Nickell (1981), Econometrica 49:1417-1426. Cells:
Wong, Lewis, Wardrop & Lal (2021), *You only compress once*, arXiv 2102.11297. Hidden causes: Cinelli & Hazlett (2020),
J. R. Stat. Soc. B 82:39-67; VanderWeele & Ding (2017), Ann. Intern. Med. 167:268-274. Choices: Simonsohn, Simmons & Nelson
(2020), Nature Human Behaviour 4:1208-1214. Groups: Paule & Mandel (1982), J. Res. Natl. Bur. Stand. 87:377-385; Morris
(1983), JASA 78:47-55; Benjamini & Hochberg (1995), J. R. Stat. Soc. B 57:289-300. Leaving: Allison (1982), Sociol.
Methodol. 13:61-98 (discrete-time logit).
"""

from cxresearch.loyalty.choices import compare_revenue_models, loyalty_by_group, specification_curve
from cxresearch.loyalty.panel import lead_lag
from cxresearch.loyalty.retention import fit_retention
from cxresearch.loyalty.revenue import fit_loyalty_revenue
from cxresearch.loyalty.worth import worth_of_a_point

__all__ = [
    "compare_revenue_models", "fit_loyalty_revenue", "fit_retention", "lead_lag", "loyalty_by_group",
    "specification_curve", "worth_of_a_point",
]  # fmt: skip
