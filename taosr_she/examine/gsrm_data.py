"""Training examples for the GSRM: responses with known verdicts on their steps.

There are three sources. *Rollouts* of the policy that the GSRM will examine, with verdicts by people: they show the
errors it will see. *Clean* responses: reference annotations, or demonstrations that end in the human label. *Corrupted*
ones: clean responses with a known error (`corruptions`). Corruptions are chosen so that overall every step is wrong
about as often as it is right; on the natural distribution, a GSRM would learn that most steps are right.

A GSRM has to learn two things. To reason rightly: only from people, because a teacher's demonstration may be flawed
despite its label. To compare a response with its own reasoning: for this, demonstrations serve as well, flawed or not,
because the corrupted step is wrong according to the reasoning next to it; and there are many demonstrations.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random

from taosr_she.data.demonstration import Demonstration
from taosr_she.domain.conclusions import is_partial
from taosr_she.domain.domain import Domain
from taosr_she.domain.pair import Annotation, Pair
from taosr_she.domain.response import Response, parse_response, render_response
from taosr_she.examine.corruptions import CORRUPTIONS, Steps, Words, corrupt
from taosr_she.examine.gsrm import GSRMConfig, compared_steps
from taosr_she.examine.gsrm_prompt import Check, GSRMForm, shown_steps
from taosr_she.examine.verdicts import Verdicts
from taosr_she.examine.verifier import Verifier
from taosr_she.model.example import IGNORE, Example, answer
from taosr_she.model.policy import Policy

Conclusions = Mapping[tuple[str, str], str]
"""(pair_id, step key) -> the right conclusion."""

CLEAN_SHARE = 0.25
APPLIED_SHARE = 0.8


@dataclass(frozen=True)
class Examined:
    """A response with what is known about its K steps."""

    pair: Pair
    response: Response
    verdicts: tuple[float, ...]  # 1 right, 0 wrong, NaN unknown
    conclusions: tuple[str | None, ...]  # what the step should conclude, where known: the critique
    kind: str  # rollout, clean, or the corruptions joined by "+"
    by_people: bool = True  # the conclusions come from people: the GSRM may learn this reasoning


def right_conclusions(domain: Domain, pairs: Iterable[Pair], annotations: Iterable[Annotation]) -> dict[
    tuple[str, str], str
]:  # fmt: skip
    """From reference annotations, corrections of judged steps, and the human labels."""
    closed = {spec.key: spec for spec in domain.steps if spec.kind == "closed"}
    label = domain.steps[domain.label_step].key
    right: dict[tuple[str, str], str] = {}
    for a in annotations:
        if a.step in closed and a.correction:
            right.setdefault((a.pair_id, a.step), a.correction)
    for a in annotations:
        known = a.step in closed and not is_partial(closed[a.step], a.conclusion)
        if known and a.verdict == "correct" and not a.response_id:
            right[a.pair_id, a.step] = a.conclusion
    return right | {(p.pair_id, label): p.label for p in pairs if p.label is not None}


def examined_rollouts(
    domain: Domain, pairs: Sequence[Pair], responses: Sequence[Response], verdicts: Verdicts, right: Conclusions
) -> list[Examined]:
    """Rollouts with verdicts by people (B, K), those without any left out. A verdict counts as right from 0.5 on."""
    examined = []
    for pair, response, row in zip(pairs, responses, verdicts.values.tolist(), strict=True):
        known = tuple(math.nan if math.isnan(v) else float(v >= 0.5) for v in row)
        if not all(map(math.isnan, known)):
            examined.append(Examined(pair, response, known, _conclusions(domain, pair, right), "rollout"))
    return examined


def judged_responses(domain: Domain, pairs: Iterable[Pair], annotations: Sequence[Annotation]) -> list[Examined]:
    """The responses that people judged step by step, put together from their records.

    A step without a record is missing in the response, and unknown: nobody has looked at it.
    """
    by_id = {pair.pair_id: pair for pair in pairs}
    judged: dict[tuple[str, str], dict[str, str]] = {}
    for a in annotations:
        if a.response_id and a.pair_id in by_id and a.step in domain.step_keys:
            judged.setdefault((a.pair_id, a.response_id), {}).setdefault(a.step, " ".join(a.conclusion.split()))
    texts = ["\n".join(f"[{key}] {said[key]}" for key in domain.step_keys if key in said) for said in judged.values()]
    of, responses = [by_id[pair_id] for pair_id, _ in judged], [parse_response(domain, text) for text in texts]
    found = Verifier(domain, annotations).examine(of, responses)
    for row, response in zip(found.values, responses, strict=True):
        row[[step is None for step in response.steps]] = math.nan
    return examined_rollouts(domain, of, responses, found, {})


def clean_references(domain: Domain, pairs: Iterable[Pair], right: Conclusions) -> list[Examined]:
    """One right response for every pair of which each step's right conclusion is known."""
    clean = []
    for pair in pairs:
        steps = {key: right[pair.pair_id, key] for key in domain.step_keys if (pair.pair_id, key) in right}
        if len(steps) == len(domain.steps):
            clean.append(_clean(domain, pair, steps))
    return clean


def clean_demonstrations(
    domain: Domain, pairs: Iterable[Pair], demonstrations: Iterable[Demonstration]
) -> list[Examined]:
    """Demonstrations that are well formed and end in the human label, taken for right in every step.

    Teachers have blind spots that do not always show in the label, so some are not as clean as they look: they teach to
    compare, not to reason.
    """
    by_id = {p.pair_id: p for p in pairs}
    clean = []
    for demonstration in demonstrations:
        pair, response = by_id.get(demonstration.pair_id), parse_response(domain, demonstration.response)
        if pair is not None and response.well_formed and response.label == pair.label:
            clean.append(replace(_clean(domain, pair, _texts(domain, response)), by_people=False))
    return clean


def corrupt_to_balance(
    domain: Domain, clean: Sequence[Examined], rollouts: Sequence[Examined], count: int, seed: int
) -> list[Examined]:
    """`count` responses made from the clean ones, so that together with the rollouts every step is wrong in about half.

    A share `CLEAN_SHARE` is unchanged: the GSRM must learn to pass faultless responses. Every other response gets an
    error in each step that has been right too often so far, if a corruption applies there. Clean responses are used
    repeatedly, with new errors.
    """
    if not clean:
        return []
    rng = Random(f"corruptions {seed}")
    words = Words.collect(domain, (_texts(domain, c.response) for c in clean))
    surplus = [0.0] * len(domain.steps)  # right minus wrong
    for each in rollouts:
        _count(surplus, each.verdicts)
    order: list[Examined] = []
    made = []
    for _ in range(count):
        if not order:
            order = rng.sample(clean, len(clean))
        source = order.pop()
        steps, kinds = _texts(domain, source.response), []
        wrong: set[str] = set()
        for kind in rng.sample(list(CORRUPTIONS), len(CORRUPTIONS) if rng.random() >= CLEAN_SHARE else 0):
            result = corrupt(kind, steps, rng, words)
            needed = result is not None and all(surplus[domain.step_keys.index(key)] >= 0 for key in result[1])
            # Which steps are wrong together is random; otherwise, the GSRM would learn the pattern.
            if result is not None and needed and not wrong & set(result[1]) and rng.random() < APPLIED_SHARE:
                steps = result[0]
                wrong |= set(result[1])
                kinds.append(kind)
        verdicts = tuple(float(key not in wrong) for key in domain.step_keys)
        response = parse_response(domain, render_response(domain, steps))
        made.append(replace(source, response=response, verdicts=verdicts, kind="+".join(kinds) or "clean"))
        _count(surplus, verdicts)
    return made


def gsrm_examples(policy: Policy, domain: Domain, examined: Iterable[Examined], config: GSRMConfig) -> list[Example]:
    """Examples for `train_sft`, in the form that the GSRM will use with this config (see `gsrm_prompt`).

    A pair for which people gave every right conclusion is one example of the GSRM's own reasoning. If steps are read, a
    response is another one: prompt, with `critique` the right reasoning, then its check, trained at the slots of the
    steps that are read. Training on the response too would drown them: of about fifty tokens, five are verdicts. The
    placeholder stays in the text whatever is trained in its place, as in an examination. Steps with unknown verdicts
    are shown but not trained on.
    """
    form = GSRMForm(policy, domain)
    compared = compared_steps(domain, config)
    examples: list[Example] = []
    reasoned: set[str] = set()
    for each in examined:
        prompt = form.prompt(each.pair)
        reasoning: list[int] = []
        if config.critique:
            known = [(k, c) for k, c in zip(domain.step_keys, each.conclusions, strict=True) if c is not None]
            text = "\n".join(f"[{key}] {' '.join(conclusion.split())}" for key, conclusion in known)
            *reasoning, end = policy.encode_response(text)
            if each.by_people and len(known) == len(domain.steps) and each.pair.pair_id not in reasoned:
                reasoned.add(each.pair.pair_id)
                examples.append(answer(prompt, [*reasoning, end]))
        if all(compared):
            continue
        shown = shown_steps(domain, each.response, config.max_step_chars, form.special_tokens)
        check = form.fitting_check(shown, len(prompt) + len(reasoning), each.pair)
        verdicts = [math.nan if by_program else v for v, by_program in zip(each.verdicts, compared, strict=True)]
        learnt = _verdict_labels(form, check, verdicts)
        if any(label != IGNORE for label in learnt):
            before = prompt + reasoning
            examples.append(Example(before + check.ids, [IGNORE] * len(before) + learnt))
    return examples


def shares_wrong(domain: Domain, examined: Iterable[Examined]) -> dict[str, float]:
    """Step key -> share of wrong ones among its known verdicts; NaN without any."""
    rows = [each.verdicts for each in examined]
    columns = {key: [v[k] for v in rows if not math.isnan(v[k])] for k, key in enumerate(domain.step_keys)}
    return {key: 1 - sum(values) / len(values) if values else math.nan for key, values in columns.items()}


def _verdict_labels(form: GSRMForm, check: Check, verdicts: Sequence[float]) -> list[int]:
    """Labels for the tokens of a check: after a slot with a known verdict, the first token where the words differ."""
    labels = [IGNORE] * len(check.ids)
    for slot, k in zip(check.slots, check.asked, strict=True):
        if not math.isnan(verdicts[k]):
            labels[slot + 1] = form.correct[0] if verdicts[k] == 1 else form.wrong[0]
    return labels


def _clean(domain: Domain, pair: Pair, steps: Steps) -> Examined:
    response = parse_response(domain, render_response(domain, steps))
    return Examined(pair, response, (1.0,) * len(steps), tuple(steps[key] for key in domain.step_keys), "clean")


def _texts(domain: Domain, response: Response) -> Steps:
    return {key: step.text if step else "" for key, step in zip(domain.step_keys, response.steps, strict=True)}


def _conclusions(domain: Domain, pair: Pair, right: Conclusions) -> tuple[str | None, ...]:
    return tuple(right.get((pair.pair_id, key)) for key in domain.step_keys)


def _count(surplus: list[float], verdicts: Sequence[float]) -> None:
    for k, verdict in enumerate(verdicts):
        surplus[k] += 0 if math.isnan(verdict) else 1 if verdict else -1
