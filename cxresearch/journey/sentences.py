"""The sentences of the journey: whole templates with named values, by id."""

SENTENCES = {
    "days": "Times are days without hours: what happened within a day is not told apart.",
    # paths
    "follows": '"{first}" is followed most often by "{then}": {share} of {n} moves ({span}).',
    "lost_at": 'Most lost paths end at "{name}": {share} of {n}.',
    "passes": 'Of the paths that end well, {share} pass "{name}" ({span}, n = {n}): a share of paths that pass, not what it brings about.',
    "paths_hidden": "What follows what is not shown: the bases are too small.",
    "order": "What comes next depends on the step before, too ({p}): the map of single moves leaves something out.",
    "no_order": "That what comes next depends on more than the last touchpoint is not established ({p}).",
    "order_unknown": "Whether the step before matters cannot be tested: too few different ways.",
    # moments
    "moment": "{name} counts most: between good and bad ratings lie {value} points of {outcome}, counted over all ({span}).",
    "moment_open": "No touchpoint is established to count for {outcome}; {name} comes first with {value} points ({span}).",
    "moment_parts": "{met} met it, and good ratings go with {gap} points more than bad ones (n = {n}, bad: {n_low}), an association.",
    "moment_more": "Established, too: {names}.",
    "channels_alike": "All {count} channels are alike: every difference lies within the ±{margin} declared worth acting on (n = {n}).",
    "channels_differ": "Channels are not alike: {above} is rated {gap} above {below} ({span}; margin {margin}; n = {n}).",
    "channels_open": "Whether the {count} channels are alike within ±{margin} is not known for every pair (n = {n}).",
    "channels_pairs": "Pairs alike: {alike}; different: {different}; not known: {not_known}.",
    "channels_spread": "The standard deviation between channels is {spread} ({span}).",
    # hand-offs, repeats, times
    "handoff_open": "That hand-offs go with longer or shorter cases is not established: ratio {ratio} ({span}; {n_handed} of {n} cases).",
    "handoff_longer": "Cases handed on take {size} longer from the landmark on (ratio, {span}; {n_handed} of {n} cases).",
    "handoff_shorter": "Cases handed on take {size} less from the landmark on (ratio, {span}; {n_handed} of {n} cases).",
    "handoff_fades": "Among cases open {mark} hours after their opening it fades to {later} ({span}), as it would if cases handed on were harder from the start.",
    "handoff_naive": "Compared are cases open {mark} hours after their opening; the naive ratio of {naive} ({span}) misleads, since long cases have more time to be handed on.",
    "handoff_hidden": "They may be harder from the start: a hidden difference that goes with both by a factor of {e} would explain it.",
    "repeat": "{share} of contacts are followed by another on the same topic within {days} days ({span}, n = {n}).",
    "repeat_differ": 'By {by}: {high} after "{more}", {low} after "{less}" (difference in points, {span}).',
    "repeat_open": 'By {by}, a difference between {high} after "{more}" and {low} after "{less}" is not established (points, {span}).',
    "time_half": "Half of the cases are closed within {hours} hours ({span}, n = {n}, still open: {open}).",
    "time_unknown": "Fewer than half of the cases are closed yet (n = {n}, still open: {open}).",
    "time_differ": "By {by} the times differ (log-rank test, {p}).",
    "time_open": "By {by}, a difference in times is not established (log-rank test, {p}).",
    # coverage
    "blind": "{share} of contacts happen where nothing is measured: {names}.",
    "all_seen": "Every touchpoint that has contacts is measured.",
    "seen": "Of {n} contacts {share} are of customers who rated the touchpoint ({span}).",
}
