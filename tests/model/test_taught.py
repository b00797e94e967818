"""Examples that teach some steps: all headers, the conclusions of the chosen steps, an end where there is one."""

import pytest

from taosr_she.domain.domain import load_domain
from taosr_she.domain.pair import Pair, Product
from taosr_she.domain.prompt import render_prompt
from taosr_she.model.example import IGNORE, answer
from taosr_she.model.policy import Policy
from taosr_she.model.taught import teach_steps
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
