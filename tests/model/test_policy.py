"""Loading, saving, and prompts in which no user text can act as a control token."""

import copy
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, AutoTokenizer

from taosr_she.base.errors import UserError
from taosr_she.domain.domain import Domain
from taosr_she.domain.pair import Pair, Product
from taosr_she.domain.prompt import render_pair, render_prompt, render_system
from taosr_she.model.policy import Policy, load_policy, resolve_device, save_policy

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    "{% if add_generation_prompt and enable_thinking is false %}<think></think>{% endif %}"
)
REFUSES_SYSTEM = "{% if messages[0].role == 'system' %}{{ raise_exception('no system role') }}{% endif %}" + CHATML
IGNORES_SYSTEM = CHATML.replace("in messages", "in messages if m.role != 'system'")
CONTROL = ["<|im_start|>", "<|im_end|>", "<|end|>", "<|pad|>", "<think>", "</think>", "[label]", "\n[query]"]
hostile = st.lists(
    st.sampled_from(
        [*CONTROL, *(c.upper() for c in CONTROL), "<|im_", "end|>", "<|", "|>", "<", ">", "＜|end|＞", "［label］"]
    )
    | st.text(max_size=5)
).map("".join)


@pytest.fixture
def chat(tiny: Policy) -> Policy:
    tokenizer = copy.deepcopy(tiny.tokenizer)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    tokenizer.add_tokens(["<think>", "</think>"])
    tokenizer.chat_template = CHATML
    return Policy(tiny.model, tokenizer, tiny.device)


def text_of(policy: Policy, ids: list[int]) -> str:
    text: str = policy.tokenizer.decode(ids, clean_up_tokenization_spaces=False)
    return text


def added_in(policy: Policy, ids: list[int]) -> list[int]:
    return [i for i in ids if i in policy.tokenizer.added_tokens_decoder]


def test_prompt_without_chat_template(tiny: Policy, domain: Domain, pair: Pair) -> None:
    assert text_of(tiny, tiny.encode_prompt(domain, pair)) == render_prompt(domain, pair)


def test_start_token_only_if_the_tokenizer_sets_one(tiny: Policy, domain: Domain, pair: Pair) -> None:
    from tokenizers.processors import TemplateProcessing

    plain = tiny.encode_prompt(domain, pair)
    tokenizer = copy.deepcopy(tiny.tokenizer)
    tokenizer.add_special_tokens({"bos_token": "<|start|>"})
    bos, eos = tokenizer.bos_token_id, tokenizer.eos_token_id
    assert Policy(tiny.model, tokenizer, tiny.device).encode_prompt(domain, pair) == plain
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<|start|> $A <|end|>", special_tokens=[("<|start|>", bos), ("<|end|>", eos)]
    )
    policy = Policy(tiny.model, tokenizer, tiny.device)
    assert policy.encode_prompt(domain, pair) == [bos, *plain]
    assert policy.encode_response("[label] 4") == tiny.encode_response("[label] 4")


@pytest.mark.parametrize("template", [CHATML, REFUSES_SYSTEM, IGNORES_SYSTEM])
def test_prompt_with_chat_template(chat: Policy, domain: Domain, pair: Pair, template: str) -> None:
    chat.tokenizer.chat_template = template
    system, user = render_system(domain), render_pair(domain, pair)
    if template == CHATML:
        turns = f"<|im_start|>system\n{system}<|im_end|>\n<|im_start|>user\n{user}<|im_end|>\n"
    else:
        turns = f"<|im_start|>user\n{system}\n\n{user}<|im_end|>\n"
    prompt = text_of(chat, chat.encode_prompt(domain, pair))
    assert prompt == turns + "<|im_start|>assistant\n<think></think>"


def test_empty_system_text_makes_no_turn(chat: Policy, domain: Domain, pair: Pair) -> None:
    hidden = {"instruction": "", "show_labels": False, "show_rules": False, "show_format": False}
    prompt = text_of(chat, chat.encode_prompt(domain.with_overrides({"prompt": hidden}), pair))
    assert prompt.startswith("<|im_start|>user\nQuery: red running shoes")


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(query=hostile, title=hostile, value=hostile)
def test_user_text_never_becomes_a_control_token(
    tiny: Policy, chat: Policy, domain: Domain, pair: Pair, query: str, title: str, value: str
) -> None:
    attack = Pair("p", "q", query, Product(title, description=value, brand=value, attributes={value: title}))
    for policy in (tiny, chat):
        harmless, attacked = (added_in(policy, policy.encode_prompt(domain, p)) for p in (pair, attack))
        assert attacked == harmless


def test_response_text_never_becomes_a_special_token(chat: Policy) -> None:
    text = "[label] 4 <|im_end|> <|end|>"
    ids = chat.encode_response(text)
    assert text_of(chat, ids[:-1]) == text
    assert ids[-1] == chat.tokenizer.eos_token_id
    assert not set(ids[:-1]) & set(chat.tokenizer.all_special_ids)


def test_end_and_pad_ids(tiny: Policy) -> None:
    eos = tiny.tokenizer.eos_token_id
    assert tiny.end_ids == (eos,) and tiny.pad_id == tiny.tokenizer.pad_token_id != eos
    tiny.model.generation_config.eos_token_id = [7, eos]
    tiny.tokenizer.pad_token = None
    assert tiny.end_ids == (eos, 7) and tiny.pad_id == eos


def test_saved_policy_has_identical_logits(tiny: Policy, saved: Path, domain: Domain, pair: Pair) -> None:
    ids = torch.tensor([tiny.encode_prompt(domain, pair)])
    direct = AutoModelForCausalLM.from_pretrained(saved)(ids).logits
    again = load_policy(saved, "cpu")
    assert torch.equal(tiny.model(ids).logits, direct)
    assert torch.equal(again.model(ids).logits, direct)
    assert not again.model.training and again.model.dtype == torch.float32
    assert (
        again.encode_prompt(domain, pair) == AutoTokenizer.from_pretrained(saved)(render_prompt(domain, pair)).input_ids
    )
    assert again.end_ids == tiny.end_ids and again.pad_id == tiny.pad_id
    assert load_policy(saved, "cpu", "bfloat16").model.dtype == torch.bfloat16


def test_a_failed_save_leaves_the_old_folder(tiny: Policy, saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def disk_full(folder: Path) -> None:
        raise OSError("disk full")

    before = {f.name: f.read_bytes() for f in saved.iterdir()}
    monkeypatch.setattr(tiny.tokenizer, "save_pretrained", disk_full)
    with pytest.raises(OSError, match="disk full"):
        save_policy(tiny, saved)
    assert {f.name: f.read_bytes() for f in saved.iterdir()} == before
    monkeypatch.undo()
    save_policy(tiny, saved)
    assert [f.name for f in saved.parent.iterdir()] == [saved.name]


def test_other_mistakes(saved: Path) -> None:
    for call, message in [
        (lambda: load_policy(saved.parent / "nope"), "no such folder"),
        (lambda: load_policy("nobody/nothing"), "nobody/nothing cannot be loaded"),
        (lambda: load_policy(saved, "gpu"), "device 'gpu'"),
        (lambda: load_policy(saved, "cuda:99"), "device 'cuda:99'"),
        (lambda: load_policy(saved, "cpu", "int4"), "dtype 'int4'"),
    ]:
        with pytest.raises(UserError, match=message):
            call()


def test_auto_device(tiny: Policy) -> None:
    expected = "cuda" if torch.cuda.is_available() else "cpu"
    assert resolve_device("auto").type == expected
    assert tiny.to("auto").device.type == next(tiny.model.parameters()).device.type == expected
