"""Chat templates that leave out, refuse or change the text of a pair."""

import copy

import pytest

from taosr_she.base.errors import UserError
from taosr_she.domain.domain import Domain
from taosr_she.domain.pair import Pair
from taosr_she.domain.prompt import render_pair, render_system
from taosr_she.model.policy import Policy

OF_PARTS = (
    "{% for m in messages %}<|{{ m.role }}|>{% for c in m.content %}{% if c.type == 'text' %}{{ c.text }}{% endif %}"
    "{% endfor %}{{ '\n' }}{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
PLAIN = "{% for m in messages %}<|{{ m.role }}|>{{ m.content | trim }}\n{% endfor %}<|assistant|>"


def with_template(tiny: Policy, template: object) -> Policy:
    tokenizer = copy.deepcopy(tiny.tokenizer)
    tokenizer.chat_template = template
    return Policy(tiny.model, tokenizer, tiny.device)


def prompt(policy: Policy, domain: Domain, pair: Pair) -> str:
    text: str = policy.tokenizer.decode(policy.encode_prompt(domain, pair), clean_up_tokenization_spaces=False)
    return text


@pytest.mark.parametrize("template", [PLAIN, OF_PARTS, {"default": PLAIN, "rag": "x"}], ids=["text", "parts", "named"])
def test_the_pair_comes_through(tiny: Policy, domain: Domain, pair: Pair, template: object) -> None:
    system, user = render_system(domain), render_pair(domain, pair)
    expected = f"<|system|>{system}\n<|user|>{user}\n<|assistant|>"
    assert prompt(with_template(tiny, template), domain, pair) == expected


def test_parts_without_a_system_turn(tiny: Policy, domain: Domain, pair: Pair) -> None:
    policy = with_template(tiny, OF_PARTS.replace("in messages", "in messages if m.role != 'system'"))
    expected = f"<|user|>{render_system(domain)}\n\n{render_pair(domain, pair)}\n<|assistant|>"
    assert prompt(policy, domain, pair) == expected


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("<|user|>judge this<|assistant|>", "leaves out the text of the pair"),
        (PLAIN.replace("trim", "upper"), "leaves out the text of the pair"),
        (PLAIN.replace("m.content | trim", "m.content[:20]"), "leaves out the text of the pair"),
        ("{{ messages + 1 }}", "fails: TypeError"),
        ("{{ '%d' | format(messages) }}", "fails: TypeError"),
        ("{{ messages[9].content }}", "fails: UndefinedError"),
        ("{{ 1 // 0 }}", "fails: ZeroDivisionError"),
        ("{% for m in messages %}", "fails: TemplateSyntaxError"),
        ("{{ raise_exception('never') }}", "fails: TemplateError: never"),
        ({"tool_use": PLAIN, "rag": PLAIN}, r"fails: ValueError: .*no default.*\['rag', 'tool_use'\]"),
    ],
)
def test_unusable_templates_are_one_line(
    tiny: Policy, domain: Domain, pair: Pair, template: object, message: str
) -> None:
    policy = with_template(tiny, template)
    policy.tokenizer.name_or_path = "./mine"
    with pytest.raises(UserError, match=rf"model ./mine: its chat template {message}") as caught:
        policy.encode_prompt(domain, pair)
    assert "\n" not in str(caught.value)


def test_a_template_that_fails_for_one_pair_alone(tiny: Policy, domain: Domain, pair: Pair) -> None:
    picky = PLAIN + "{% if '45' in messages[-1].content %}{{ messages + 1 }}{% endif %}"
    with pytest.raises(UserError, match="the model's chat template fails: TypeError"):
        with_template(tiny, picky).encode_prompt(domain, pair)
