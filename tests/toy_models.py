"""Random models of several architectures, and a small tiny policy: fixtures that several rooms of the tests share."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import CONFIG_MAPPING, AutoModelForCausalLM, PreTrainedTokenizerFast

from taosr_she.domain.domain import Domain, load_domain
from taosr_she.domain.pair import Pair, Product
from taosr_she.model.policy import Policy
from taosr_she.model.tiny import TinyConfig, build_tiny

END, PAD, VOCAB = 0, 1, 40
CPU = torch.device("cpu")
ROPE = {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 64, "vocab_size": VOCAB,
}  # fmt: skip
ARCHITECTURES = {
    "qwen3": ROPE,
    "llama": ROPE | {"num_key_value_heads": 4},
    "qwen2": {name: value for name, value in ROPE.items() if name != "head_dim"},
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64, "vocab_size": VOCAB},
    # Sliding window shorter than the prompts, logits squeezed by a soft cap after the head.
    "gemma2": ROPE | {"sliding_window": 4, "final_logit_softcapping": 2.0, "query_pre_attn_scalar": 8},
}
RESPONSE = (
    "[query] category: running shoes; color: red\n[product] category: running shoes; color: blue\n[category] same\n"
    "[attributes] color: conflict\n[label] 3"
)


def random_policy(architecture: str, vocab: int = VOCAB, device: torch.device = CPU) -> Policy:
    """Weights wide enough that the likeliest tokens differ clearly; dropout where the architecture has it."""
    torch.manual_seed(3)
    shape = ARCHITECTURES[architecture] | {"vocab_size": vocab}
    config = CONFIG_MAPPING[architecture](
        **shape, initializer_range=0.3, bos_token_id=None, eos_token_id=END, pad_token_id=PAD, use_cache=False
    )
    model = AutoModelForCausalLM.from_config(
        config, attn_implementation="eager" if architecture == "gemma2" else "sdpa"
    )
    words = {"<end>": END, "<pad>": PAD} | {f"w{i}": i for i in range(2, vocab)}
    core = Tokenizer(models.WordLevel(words, unk_token="w2"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, pad_token="<pad>", eos_token="<end>")
    return Policy(model.to(device).eval(), tokenizer, device)


@pytest.fixture(scope="session", params=["cpu", *(["cuda"] if torch.cuda.is_available() else [])])
def device(request: pytest.FixtureRequest) -> torch.device:
    """Every device that is here: what must be equal must be equal on each."""
    return torch.device(request.param)


@pytest.fixture(scope="session")
def make_policy(device: torch.device) -> Callable[..., Policy]:
    return partial(random_policy, device=device)


@pytest.fixture(params=ARCHITECTURES)
def any_policy(request: pytest.FixtureRequest, device: torch.device) -> Policy:
    return random_policy(request.param, device=device)


@pytest.fixture(scope="session")
def domain() -> Domain:
    return load_domain("taobao")


@pytest.fixture(scope="session")
def pair() -> Pair:
    return Pair("p1", "q1", "red running shoes", Product(title="Blue running shoes", price=45.0))


@pytest.fixture(scope="session")
def texts() -> list[str]:
    variants = [
        RESPONSE.replace("red", color).replace("] 3", f"] {grade}") for color in ("red", "green") for grade in "43"
    ]
    return [f"Query: red running shoes 42\nTitle: 你好 Café\nAnswer:\n{v}" for v in variants] * 3


@pytest.fixture(scope="session")
def small() -> TinyConfig:
    return TinyConfig(hidden=32, layers=2, heads=2, kv_heads=1, ffn=48, vocab_size=400, max_positions=1024)


@pytest.fixture
def tiny(texts: list[str], domain: Domain, small: TinyConfig) -> Policy:
    return build_tiny(texts, domain, small, seed=1)


@pytest.fixture
def saved(tiny: Policy, tmp_path: Path) -> Path:
    from taosr_she.model.policy import save_policy

    save_policy(tiny, tmp_path / "model")
    return tmp_path / "model"
