"""The columns of the scorecard, and its sentences: whole templates with named values, by id."""

from cxresearch.findings import describe_columns

describe_columns(
    # scorecard
    promoters=("Promoters", "share of promoters, 0-1", 3),
    passives=("Passives", "share of passives, 0-1", 3),
    detractors=("Detractors", "share of detractors, 0-1", 3),
    easy=("Easy", "share of answers that count as easy, 0-1", 3),
    neither=("Neither", "share of answers that count as neither easy nor hard, 0-1", 3),
    hard=("Hard", "share of answers that count as hard, 0-1", 3),
    kish_deff=(
        "Kish deff",
        "n sum w^2 / (sum w)^2: what unequal weights alone would cost; not the design effect of this estimate",
        2,
    ),
    # estimate
    base=("Base", "what the base allows: suppressed, very small (no arrows), indicative, enough"),
    family=("Family", "comparisons corrected together", 0),
    correction=("Correction", "how p-values were corrected for their family"),
    detectable=("Detectable", "difference that 4 of 5 such surveys would have found, in the unit of the estimate", 2),
    # crosstab
    banner=("Columns by", "the column whose groups stand side by side"),
    category=("Category", "answer, or group of a categorical variable"),
    letter=("Letter", "name of the column in tests"),
    above=("Above", "letters of the columns of the same banner that this value is established to be above"),
    statistic=("Statistic", "F value of the test", 2),
    df_1=("df 1", "degrees of freedom of the numerator", 2),
    df_2=("df 2", "degrees of freedom of the denominator", 1),
    tests=("Tests", "questions by banners that were tested", 0),
    # waves
    n_before=("n before", "rows behind the earlier wave", 0),
    overlap=("In both", "respondents, or clusters where they are declared, that answered in both waves", 0),
    waves=("Waves", "rounds compared", 0),
    lack_of_fit=("Lack of fit p", "p-value of waves scattering around the line no more than sampling allows", 3),
    # touchpoints
    items=("Items", "touchpoints", 0),
    # mix
    share_before=("Share before", "share of the group in the earlier wave, 0-1", 3),
    share_after=("Share after", "share of the group in the later wave, 0-1", 3),
    score_before=("Score before", "the group's value in the earlier wave, in the measure's unit", 1),
    score_after=("Score after", "the group's value in the later wave, in the measure's unit", 1),
    performance=("Performance", "part of the change from the group's own value, in the measure's unit", 2),
    largest_change=("Largest change", "largest change between two waves, in the measure's unit", 1),
    mix=("Mix", "part of the change from the group's share, in the measure's unit", 2),
    # league
    shrunken=("Shrunken", "estimate drawn towards the mean of the groups as far as its base is small", 1),
    against_rest=("Against the rest", "group less all other respondents, in the measure's unit", 1),
    rest=("Rest", "share of the answer among all other groups, 0-1", 3),
    # control
    limits=("Limits at", "standard errors from the centre", 1),
    signal=("Signal", "beyond limits, run of eight, or none"),
    dispersion=("Dispersion", "variation between waves by what sampling allows", 2),
    # who
    responders=("Responders", "mean of the customers who answered", 2),
    others=("Others", "mean of the customers who did not answer", 2),
    n_others=("n others", "customers who did not answer", 0),
    response_rate=("Response rate", "customers who answered, in any wave, by all, 0-1", 3),
    reweighted=("Reweighted", "value of responders weighted to resemble all customers", 1),
    # plan
    needed=("Answers needed", "answers (of each group, for a difference)", 0),
    margin=("Margin", "half the width of the interval, points", 1),
    difference=("Difference", "difference to be detected, points", 1),
    deff=("Design effect", "variance of the design by that of as many simple random answers", 2),
    # late
    reported=("Reported", "value as the earlier extract gave it, in the measure's unit", 1),
    restated=("Restated", "value as the later extract gives it, in the measure's unit", 1),
    late=("Late", "answers of the wave that the earlier extract did not have", 0),
    withdrawn=("Withdrawn", "answers of the wave that the later extract no longer has", 0),
    revised=("Revised", "answers that changed between the extracts", 0),
)

CORRECTIONS = {"holm": "Holm", "bh": "Benjamini-Hochberg", "none": "no correction"}
SENTENCES = {
    # one number
    "score": "{what}: {words} {value} ({span}; {base}).",
    "score_small": "{what}: {words} {value} ({span}; {base}), a base that is {size}.",
    "score_hidden": "{what}: {words} is not shown, its base is under {least} ({base}).",
    "score_latest": "{what}: {words} {value} in {after} ({span}; {base}).",
    "latest_hidden": "{what}: {words} of the latest wave, {after}, is not shown for its base; all waves together {value} ({span}; {base}).",
    "cells_differ": "{what} by {by}: the {cells} differ (joint test, {p}), from {high} in {top} to {low} in {bottom}.",
    "cells_open": "{what} by {by}: a difference between the {cells} is not established (joint test, {p}).",
    "cells_range": "{what} by {by}: from {high} in {top} to {low} in {bottom}; no joint test.",
    "cells_hidden": "{what} by {by}: fewer than two {cells} have a base that may be shown.",
    "cells_numbers": "{parts}; all {value} ({span}; {base}).",
    "cells_left_out": "{parts}; all {value} ({span}; {base}); {small} under {least} answers and {hidden} not shown for their base are left out.",
    "part": "{name} {value} ({span}, {base})",
    "waves_differ": "The waves differ (joint test, {p}); all waves together {value} ({span}; {base}).",
    "waves_open": "A difference between the waves is not established (joint test, {p}); all waves together {value} ({span}; {base}).",
    "waves_together": "All waves together {value} ({span}; {base}).",
    # change between waves
    "rose": "{what}: {words} rose {size} from {before} to {after} ({span}, adjusted {p}).",
    "fell": "{what}: {words} fell {size} from {before} to {after} ({span}, adjusted {p}).",
    "equivalent": "{what}: no change that matters from {before} to {after}, the interval lies within ±{worth} ({span}).",
    "too_small": "{what}: a change from {before} to {after}, but none above the {worth} declared worth acting on ({span}).",
    "no_base": "{what}: the base is too small to say whether {words} changed from {before} to {after}.",
    "open": "{what}: a change from {before} to {after} is not established (adjusted {p}; {span}).",
    "bases": "Bases: n = {n_before} and {n}.",
    "bases_detectable": "Bases: n = {n_before} and {n}; a change of {detectable} would have been found in 4 of 5 such surveys.",
    "family": "{moved} of {family} changes are established ({correction}; joint test of no difference, {p}).",
    "family_only": "{moved} of {family} changes are established ({correction}).",
    "groups_moved": "{what}: {moved} of {family} changes are established, first of all {verdict} in {group} from {before} to {after}.",
    "groups_open": "{what} by {by}: no change is established in any group ({family} comparisons, {correction}; n = {n}).",
    "group_part": "{group} {verdict} {size} from {before} to {after} ({span}, n = {n_before} and {n})",
    "listed": "{parts}.",
    "nothing_shown": "{what}: no two waves have a base that may be shown.",
    "recurring": "The waves were treated as independent although {count} ids of '{column}' overlap between waves: pass respondent='{column}' if they are the same people.",
    "serial": "The ids recur, but answers of the same id are unrelated, as with serial numbers.",
    # touchpoints
    "touch_moved": "{moved} of {family} changes between neighbouring waves are established ({measure}): {first}.",
    "touch_open": "None of {family} changes of {items} touchpoints between neighbouring waves is established ({measure}).",
    "touch_fell": "{name} fell {size} to {after}",
    "touch_rose": "{name} rose {size} to {after}",
    "touch_more": "Largest first: {parts}; intervals hold for all {family} together (n = {n}).",
    "touch_left": "{count} touchpoints on another scale are left out: {names}.",
    "touch_left_one": "1 touchpoint on another scale is left out: {names}.",
    "touch_base": "Intervals hold for all {family} together; the smallest change found in 4 of 5 such surveys would be {detectable} (n = {n}).",
    # mix
    "split": "{what}, {before} to {after}: of a change of {change}, {performance} is performance within {by}, {mix} is mix.",
    "split_hidden": "{what}: the split by {by} from {before} to {after} is not shown, its base is too small.",
    "split_performance": "A change in performance is established (adjusted {p_performance}), one in mix, who answered, is not ({p_mix}; Holm, family of {family}; n = {n_before} and {n}).",
    "split_mix": "A change in mix, who answered, is established (adjusted {p_mix}), one in performance is not ({p_performance}; Holm, family of {family}; n = {n_before} and {n}).",
    "split_both": "Both a change in performance (adjusted {p_performance}) and one in mix ({p_mix}) are established (Holm, family of {family}; n = {n_before} and {n}).",
    "split_neither": "Neither a change in performance (adjusted {p_performance}) nor one in mix, who answered, ({p_mix}) is established (Holm, family of {family}; n = {n_before} and {n}).",
    # control chart
    "calm": "{what}: no wave stands out from noise around {centre} (n = {n}).",
    "signals": "{what}: {waves} {stand} out from noise around {centre} (n = {n}).",
    "limits": "The centre comes from {baseline} waves, the limits lie at {limits} standard errors.",
    # league
    "league": "{what} by {by}: {first}, against the rest.",
    "league_open": "{what} by {by}: no group is established to be above or below the rest.",
    "league_above": "{group} is above by {size} ({value}, simultaneous {span}, n = {n})",
    "league_below": "{group} is below by {size} ({value}, simultaneous {span}, n = {n})",
    "league_spread": "{more}The true values of {family} groups are estimated to vary by {between} (standard deviation; joint test {p}; n = {n}).",
    "league_spread_unknown": "{more}How much the true values of {family} groups vary cannot be said: the data show no variance between them (joint test {p}; n = {n}).",
    "league_spread_few": "{more}How much the true values vary cannot be estimated from {family} groups, at least 4 are needed (joint test {p}; n = {n}).",
    "league_more": "{count} more in the table. ",
    # spikes
    "spikes": "{what} by {by}: answers heap above their neighbours, compared with the other groups, in {first}.",
    "spikes_none": "{what} by {by}: no spike at 5, 9 or 10 is established ({family} comparisons, Holm, n = {n}).",
    "spike": "{group} at {answer} ({times} times, {span}, n = {n}, adjusted {p})",
    "spikes_more": "{family} comparisons, Holm, n = {n}. Look at how these answers were asked for.",
    # who answered
    "bias_differ": "{n} of {all} customers answered {counted} ({rate}) and differ from the others, most in {term} ({yes} against {no}).",
    "bias_alike": "{n} of {all} customers answered {counted} ({rate}); no difference in behaviour from the others is established.",
    "bias_more": "{clear} of {behaviours} behaviours differ. Weighted to resemble all customers in them {words} is {reweighted} ({span}) instead of {plain}.",
    # value
    "value": "{what} {differs}: promoters {promoters}, passives {passives}, detractors {detractors}.",
    "value_more": "Promoters have {size} more than detractors ({span}, adjusted {p}; n = {n}), an association only.",
    "value_less": "Promoters have {size} less than detractors ({span}, adjusted {p}; n = {n}), an association only.",
    "value_open": "A difference between promoters and detractors is not established ({span}, adjusted {p}; n = {n}).",
    # crosstab
    "cross_differ": "{rows} by {columns}: {clear} of {tests} questions differ between columns (adjusted p below {alpha}), first {first}.",
    "cross_open": "{rows} by {columns}: in none of {tests} tests a difference between columns is established (n = {n}).",
    "cross_more": "Letters name the columns that a value is above ({correction} within each question; n = {n}).",
    "cross_more_hidden": "Letters name the columns that a value is above ({correction} within each question; n = {n}); {hidden} cells are hidden for their base.",
    # plan
    "plan_margin": "{n} answers give a {confidence} interval of about ±{margin} points if {promoters} are promoters and {detractors} detractors.",
    "plan_difference": "{n} answers in each of two independent groups detect a difference of {difference} points with a chance of {power}.",
    "plan_simple": "Weights and clusters need more: deff=1 counts simple random answers.",
    "plan_design": "A design effect of {deff} is counted in.",
    "plan_shares": "At {confidence} confidence if {promoters} are promoters and {detractors} detractors. Weights and clusters need more: deff=1 counts simple random answers.",
    "plan_shares_design": "At {confidence} confidence if {promoters} are promoters and {detractors} detractors. A design effect of {deff} is counted in.",
    # late
    "restated": "{what}: {late} late, {withdrawn} withdrawn and {revised} revised answers restate {waves}.",
    "unrestated": "{what}: {late} late, {withdrawn} withdrawn and {revised} revised answers; no reported wave is restated (n = {n}).",
}
