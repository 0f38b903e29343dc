"""The sentences of the programme, whole templates by id."""

SENTENCES = {
    # whom we win
    "won": "{n} customers were won from {first} to {last}; a first order is worth {value} on average ({span}).",
    "won_more": "Half of first orders are under {median}; the largest 1 % of customers hold {top} of their sum. Revenue per customer is {revenue} ({spread}); the largest 1 % hold {part} of it and one customer {one} (n = {all}).",
    # whom we keep
    "active": "Of {n} customers won from {first} to {last}, {share} bought in the {period} after ({span}); active, not retained: nobody can be seen to leave.",
    "active_more": "Within {days} days {again} bought again ({spread}). Left out: {stock} customers whose first payment may not be their first, and periods that are not over.",
    # what they are worth
    "worth": "A customer is worth {value} over {horizon} months ({span}); on hold-out {actual} {events} met {predicted} predicted.",
    "worth_more": "Actual over predicted is {ratio} ({spread}), mean error {error} against {history} of each customer's history (n = {n}); the interval adds both sources.",
    "worth_no_money": "Customer lifetime value is not established: {actual} {events} met {predicted} predicted, but the money of a payment fits no model.",
    "worth_no_money_more": "Actual over predicted is {ratio} ({spread}), mean error {error} against {history} of each customer's history (n = {n}).",
    "worth_open": "Customer lifetime value is not established: on hold-out {actual} {events} met {predicted} predicted.",
    "worth_open_more": "Actual over predicted is {ratio} ({spread}), wanted wholly within 0.9 to 1.11; mean error {error} against {history} of each customer's history (n = {n}).",
    # what they cost
    "cost": "{name} is {value} ({span}, {n} periods)",
    "paid_back": "A new customer has paid back {cost} after {month} months ({span}; n = {n}).",
    "paid_back_open": "A new customer has paid back {cost} after {month} months, but within {seen} observed months some replicates never do (n = {n}).",
    "not_paid_back": "Within {seen} observed months a new customer does not pay back {cost}; {margin} has come in so far (n = {n}).",
    # what the programme changed
    "did_more": "{outcome} is {size} higher where the programme runs than it would have been ({span}).",
    "did_less": "{outcome} is {size} lower where the programme runs than it would have been ({span}).",
    "did_open": "That the programme changed {outcome} is not established: {why}.",
    "did_units": "{treated} treated and {control} control units in {periods} periods; {p} (clustered), {welch} (unit changes), {wild} (wild bootstrap).",
    "did_groups": "{treated} treated units that start at {starts} times and {control} that never do, in {periods} periods; {p} (units left out in turn).",
    "did_before_more": "Before and after alone, without the others, would have said {size} higher ({span}).",
    "did_before_less": "Before and after alone, without the others, would have said {size} lower ({span}).",
    "series_up": "A rise of {outcome} by {size} coincides with {since} ({span}).",
    "series_down": "A fall of {outcome} by {size} coincides with {since} ({span}).",
    "series_open": "No change of {outcome} that coincides with {since} is established ({size}, {span}).",
    "series_more": "{p}, {df} effective degrees of freedom; {placebo} of {dates} placebo dates before it look as large (n = {n} periods). Without a control anything else of that day would look the same.",
    "series_control": "{p}, {df} effective degrees of freedom; {placebo} of {dates} placebo dates before it look as large (n = {n} periods). It is the change against {comparison}.",
}
