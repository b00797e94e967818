"""Examples that teach some steps: all headers, the conclusions of the chosen steps, an end where there is one."""

from random import Random

import pytest

from taosr_she.domain.domain import load_domain
from taosr_she.domain.pair import Pair, Product
from taosr_she.domain.prompt import render_prompt
from taosr_she.model.example import IGNORE, answer
from taosr_she.model.policy import Policy
from taosr_she.model.taught import mask_reasoning, teach_steps, weigh_label
from taosr_she.model.tiny import TinyConfig, build_tiny

CHORUS = load_domain("chorus")
TEXT = "[query] product type: mug; color: red\n[category] same\n[attributes] color: conflict\n[label] 2"
PAIR = Pair("p", "q", "red mug", Product("Blue mug"), label="2")


@pytest.fixture(scope="module")
def policy() -> Policy:
    return build_tiny([render_prompt(CHORUS, PAIR) + TEXT] * 4, CHORUS, TinyConfig(max_positions=2048), seed=1)


def learnt(policy: Policy, example: object, prompt: list[int]) -> str:
    labels = [t for t in example.labels[len(prompt) :] if t != IGNORE]  # type: ignore[attr-defined]
    text: str = policy.tokenizer.decode(labels, clean_up_tokenization_spaces=False)
    return text


def test_headers_and_the_chosen_conclusions_are_learnt(policy: Policy) -> None:
    prompt = [5, 6]
    found = teach_steps(policy, CHORUS, prompt, TEXT, ("attributes", "label"))
    text = learnt(policy, found, prompt)
    assert "mug" not in text and "same" not in text
    assert all(f"[{key}]" in text for key in CHORUS.step_keys) and "color: conflict" in text and "[label] 2" in text
    assert found.labels[-1] == policy.tokenizer.eos_token_id and found.labels[:2] == [IGNORE, IGNORE]
    assert found.ids == prompt + policy.encode_response(TEXT)


def test_all_steps_is_the_plain_answer(policy: Policy) -> None:
    assert teach_steps(policy, CHORUS, [5], TEXT, CHORUS.step_keys) == answer([5], policy.encode_response(TEXT))


def test_an_exercise_ends_with_the_next_header_and_without_an_end_token(policy: Policy) -> None:
    first = TEXT.splitlines()[0]
    found = teach_steps(policy, CHORUS, [5], first, ("query",))
    assert learnt(policy, found, [5]).strip() == f"{first}\n[category]"
    assert policy.tokenizer.eos_token_id not in found.ids
    assert IGNORE not in found.labels[1:]


def test_the_label_alone_is_learnt_after_its_given_header(policy: Policy) -> None:
    found = teach_steps(policy, CHORUS, [5], "[label] 2", ("label",))
    assert found.ids == [5, *policy.encode_response("[label] 2")]
    assert learnt(policy, found, [5]).replace(policy.tokenizer.eos_token, "").strip() == "2"
    assert found.labels[-1] == policy.tokenizer.eos_token_id


@pytest.mark.parametrize("share", [0.0, 0.4, 0.99])
def test_masked_reasoning_leaves_the_label_and_the_form(share: float, policy: Policy) -> None:
    first = CHORUS.with_overrides({"answer_first": True})
    lines = TEXT.splitlines()
    text = "\n".join([lines[-1], *lines[:-1]])
    prompt, whole = [5, 6], answer([5, 6], policy.encode_response(text))
    conclusions = teach_steps(policy, first, prompt, text, ())  # headers and end alone
    draws, kept, seen = Random(1), 0, 0
    for _ in range(50):
        found = mask_reasoning(policy, first, whole, share, draws)
        assert found.ids == whole.ids
        for label, own, form in zip(found.labels, whole.labels, conclusions.labels, strict=True):
            assert label in (own, IGNORE)
            if form != IGNORE or own == IGNORE:
                assert label == own
        assert "[label] 2" in learnt(policy, found, prompt)
        reasoning = [i for i, form in enumerate(conclusions.labels) if form == IGNORE and i >= len(prompt)][1:]
        kept += sum(found.labels[i] != IGNORE for i in reasoning)
        seen += len(reasoning)
    assert kept / seen == pytest.approx(1 - share, abs=0.06)


def test_the_label_weighs_more_and_an_exercise_without_one_stays_as_it_is(policy: Policy) -> None:
    prompt = [5, 6]
    whole = answer(prompt, policy.encode_response(TEXT))
    found = weigh_label(policy, CHORUS, whole, 2, 8.0)
    assert found[:2] == whole[:2] and found.weights is not None
    heavy = [token for token, weight in zip(found.ids, found.weights, strict=True) if weight == 8.0]
    assert policy.tokenizer.decode(heavy).strip() == "2" and set(found.weights) == {1.0, 8.0}
    exercise = teach_steps(policy, CHORUS, prompt, TEXT.splitlines()[0], ("query",))
    assert weigh_label(policy, CHORUS, exercise, 2, 8.0) == exercise
    alone = weigh_label(policy, CHORUS, teach_steps(policy, CHORUS, prompt, "[label] 2", ("label",)), 2, 8.0)
    assert alone.weights is not None and 8.0 in alone.weights, "also behind a header that is given, not taught"
