"""Slow references written from the formulas, with loops and ifs only."""

import math


def mean(values):
    return sum(values) / len(values) if values else 0.0


def z(values, i, std):
    """values[i] minus the mean; with std over the unbiased deviation + 1e-4."""
    centred = values[i] - mean(values)
    if not std:
        return centred
    spread = sum((v - mean(values)) ** 2 for v in values) / max(len(values) - 1, 1)
    return centred / (math.sqrt(spread) + 1e-4)


def unknown(v):
    return v != v


def wrong(v):
    return not unknown(v) and v < 0.5


def outcome(verdicts, outcomes, groups, std=False):
    rows = []
    for b in range(len(outcomes)):
        mates = [i for i in range(len(outcomes)) if groups[i] == groups[b]]
        rows.append([z([outcomes[i] for i in mates], mates.index(b), std)] * len(verdicts[b]))
    return rows


def scalar(verdicts, groups, std=False):
    scores = [mean([v for v in row if not unknown(v)]) for row in verdicts]
    rows = []
    for b in range(len(verdicts)):
        mates = [i for i in range(len(verdicts)) if groups[i] == groups[b] and not all(map(unknown, verdicts[i]))]
        value = z([scores[i] for i in mates], mates.index(b), std) if b in mates else 0.0
        rows.append([value] * len(verdicts[b]))
    return rows


def srpo(verdicts, outcomes, groups, label_step, c):
    """The design's srpo, entry by entry. `c` is a CreditConfig."""
    n, steps = len(verdicts), len(verdicts[0])
    earned = []
    for b in range(n):
        flawed = any(wrong(v) for v in verdicts[b])
        earned.append(outcomes[b] * (c.flawed_outcome if flawed else 1.0))

    def reached(b, k):
        return not any(wrong(verdicts[b][j]) for j in range(k))

    rows = []
    for b in range(n):
        mates = [i for i in range(n) if groups[i] == groups[b]]
        row = []
        for k in range(steps):
            term = c.outcome_weight * z([earned[i] for i in mates], mates.index(b), c.std)
            if c.outcome_on == "label" and k != label_step:
                term = 0.0
            compared = [i for i in mates if not unknown(verdicts[i][k])]
            if c.step_baseline == "reached":
                compared = [i for i in compared if reached(i, k)]
            step = 0.0
            if b in compared:
                opinions = {wrong(verdicts[i][k]) for i in compared}
                if len(opinions) == 2:
                    step = c.step_weight * z([verdicts[i][k] for i in compared], compared.index(b), c.std)
            if c.after_error != "all" and not reached(b, k):
                step = 0.0
                if c.after_error == "negative_outcome":
                    term = min(term, 0.0)
            row.append(max(-c.clamp, min(c.clamp, term + step)))
        rows.append(row)
    return rows


def with_outcome(verdicts, outcomes, label_step):
    return [[outcomes[b] if k == label_step else v for k, v in enumerate(row)] for b, row in enumerate(verdicts)]


def known_z(values, groups, b, k, std):
    """z of values[b][k] over the known values of the same step in the group; 0 where it is unknown."""
    mates = [i for i in range(len(values)) if groups[i] == groups[b] and not unknown(values[i][k])]
    return z([values[i][k] for i in mates], mates.index(b), std) if b in mates else 0.0


def process(verdicts, outcomes, groups, label_step, c):
    rewards = with_outcome(verdicts, outcomes, label_step)
    steps = range(len(verdicts[0]))
    return [
        [sum(known_z(rewards, groups, b, j, c.std) for j in steps if j >= k) for k in steps]
        for b in range(len(verdicts))
    ]


def min_form(verdicts, outcomes, groups, label_step, c):
    rewards = with_outcome(verdicts, outcomes, label_step)
    returns = [
        [min([v for v in row[k:] if not unknown(v)], default=math.nan) for k in range(len(row))] for row in rewards
    ]
    return [[known_z(returns, groups, b, k, c.std) for k in range(len(row))] for b, row in enumerate(returns)]


def token_penalty(verdicts, outcomes, groups, label_step, c):
    values = [
        [c.outcome_weight * outcomes[b] - (c.step_weight if wrong(v) else 0.0) for v in row]
        for b, row in enumerate(verdicts)
    ]
    flat = [[value] for row in values for value in row]
    of = [g for g, row in zip(groups, values, strict=True) for _ in row]
    scores = iter([known_z(flat, of, i, 0, c.std) for i in range(len(flat))])
    return [[next(scores) for _ in row] for row in values]


def mask(verdicts, outcomes, groups, label_step, c):
    rows = outcome(verdicts, outcomes, groups, c.std)
    for b, row in enumerate(verdicts):
        for k, v in enumerate(row):
            if not unknown(v) and wrong(v) == (outcomes[b] == 1):
                rows[b][k] = 0.0
    return rows


def pivot(verdicts, outcomes, groups, label_step, c):
    rows = outcome(verdicts, outcomes, groups, c.std)
    for b, row in enumerate(verdicts):
        errors = [k for k, v in enumerate(row) if wrong(v)]
        first = errors[0] if errors else None
        for k in range(len(row)):
            if rows[b][k] > 0 and first is not None and k >= first:
                rows[b][k] = 0.0
            if rows[b][k] < 0 and k != (label_step if first is None else first):
                rows[b][k] = 0.0
    return rows


def policy_loss(logp, old, advantages, mask, c, ref):
    """Token by token, response by response."""
    per_response, everything = [], []
    for b in range(len(logp)):
        losses = []
        for t in range(len(logp[b])):
            if not mask[b][t]:
                continue
            ratio = math.exp(logp[b][t] - old[b][t])
            clipped = max(1 - c.clip_low, min(1 + c.clip_high, ratio))
            value = -min(ratio * advantages[b][t], clipped * advantages[b][t])
            if c.beta > 0:
                gap = ref[b][t] - logp[b][t]
                value += c.beta * (math.exp(gap) - gap - 1)
            losses.append(value)
        per_response.append(mean(losses))
        everything += losses
    return mean(everything) if c.normalise == "token" else mean(per_response)
