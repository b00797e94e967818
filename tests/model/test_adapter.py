"""Adapters as checkpoints: PEFT opens them, we open them again, and what cannot be done is one line."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from taosr_she.base.errors import UserError
from taosr_she.model.adapter import add_adapter, fold
from taosr_she.model.folder import base_of, check_folder
from taosr_she.model.loading import load_parts
from taosr_she.model.lora import LoraConfig
from taosr_she.model.policy import Policy, load_policy, put_adapter, save_policy, save_trained

peft = pytest.importorskip("peft")

IDS = torch.tensor([[5, 9, 3, 30, 7, 12, 8]])
CONFIG = LoraConfig(rank=4, alpha=6)


def logits(model: torch.nn.Module) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model(IDS.to(next(model.parameters()).device)).logits
    return found.float()


def trained_adapter(policy: Policy, folder: Path, config: LoraConfig = CONFIG) -> torch.Tensor:
    """Put one on, change it as training would, save it to `folder/checkpoint`; what the policy says with it."""
    put_adapter(policy, config, 1, folder)
    assert "lora_B" in dict(policy.model.named_modules())["model.layers.0.self_attn.q_proj"]._modules
    with torch.no_grad():
        for name, weight in policy.model.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.3, generator=torch.Generator(weight.device).manual_seed(2))
    said = logits(policy.model)
    save_trained(policy, folder, config)
    return said


@pytest.fixture
def folders(saved: Path, tmp_path: Path) -> tuple[Path, torch.Tensor, torch.Tensor]:
    """Folder of a stage with an adapter, what its policy says, and what the base says."""
    policy = load_policy(saved, "cpu", "float32")
    base = logits(policy.model)
    return tmp_path / "stage", trained_adapter(policy, tmp_path / "stage"), base


def test_peft_opens_the_checkpoint(folders: tuple[Path, torch.Tensor, torch.Tensor], saved: Path) -> None:
    folder, said, base = folders
    names = {file.name for file in (folder / "checkpoint").iterdir()}
    assert {"adapter_config.json", "adapter_model.safetensors", "tokenizer.json", "base.json", "domain.yaml"} <= names
    assert "model.safetensors" not in names and not (folder / "merged").exists() and not (folder / "base").exists()
    told = json.loads((folder / "checkpoint" / "adapter_config.json").read_text())
    assert told["base_model_name_or_path"] == str(saved.resolve()) and (told["r"], told["lora_alpha"]) == (4, 6)
    opened = peft.PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(saved), folder / "checkpoint")
    torch.testing.assert_close(logits(opened), said, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(said, base, atol=0.01)


def test_we_open_the_checkpoint(folders: tuple[Path, torch.Tensor, torch.Tensor]) -> None:
    folder, said, _ = folders
    policy = load_policy(folder / "checkpoint", "cpu", "float32")
    torch.testing.assert_close(logits(policy.model), said, atol=1e-4, rtol=1e-4)
    assert policy.domain is not None and policy.source == str(folder / "checkpoint")
    assert all(weight.requires_grad for weight in policy.model.parameters()) and not policy.model.training
    assert type(policy.model).__name__ == "Qwen3ForCausalLM"  # nothing of PEFT is left around it
    rounded = load_policy(folder / "checkpoint", "cpu", "bfloat16").model
    exact = dict(policy.model.named_parameters())
    for name, weight in rounded.named_parameters():
        assert torch.equal(weight, exact[name].to(torch.bfloat16)), name  # rounded after it was folded in


def test_merged_weights_on_request(saved: Path, tmp_path: Path) -> None:
    policy = load_policy(saved, "cpu", "float32")
    said = trained_adapter(policy, tmp_path / "stage", CONFIG.model_copy(update={"merged": True}))
    whole = AutoModelForCausalLM.from_pretrained(tmp_path / "stage" / "merged")
    torch.testing.assert_close(logits(whole), said, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(logits(policy.model), said, atol=1e-4, rtol=1e-4)
    save_policy(policy, tmp_path / "again")  # a plain policy now
    assert (tmp_path / "again" / "model.safetensors").is_file()


def test_weights_that_were_made_here_are_kept_beside_it(tiny: Policy, tmp_path: Path) -> None:
    said = trained_adapter(tiny, tmp_path / "stage")
    assert (tmp_path / "stage" / "base" / "model.safetensors").is_file()
    shutil.move(tmp_path / "stage", tmp_path / "moved")
    torch.testing.assert_close(
        logits(load_policy(tmp_path / "moved" / "checkpoint", "cpu").model), said, atol=1e-4, rtol=1e-4
    )


def test_an_adapter_on_an_adapter(folders: tuple[Path, torch.Tensor, torch.Tensor], tmp_path: Path) -> None:
    folder, _, _ = folders
    said = trained_adapter(load_policy(folder / "checkpoint", "cpu", "float32"), tmp_path / "second")
    found = load_policy(tmp_path / "second" / "checkpoint", "cpu", "float32")
    torch.testing.assert_close(logits(found.model), said, atol=1e-4, rtol=1e-4)
    weights = folder / "checkpoint" / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"abcd")
    with pytest.raises(UserError, match="this adapter was trained on other weights than those"):
        load_policy(tmp_path / "second" / "checkpoint", "cpu")


def test_a_lost_or_another_base_is_told(
    folders: tuple[Path, torch.Tensor, torch.Tensor], saved: Path, make_policy: Callable[..., Policy]
) -> None:
    folder, _, _ = folders
    moved = saved.rename(saved.with_name("elsewhere"))
    with pytest.raises(UserError, match=rf"base model {saved.resolve()} of this adapter does not exist; restore it"):
        load_policy(folder / "checkpoint", "cpu")
    other = load_policy(moved, "cpu", "float32")
    with torch.no_grad():
        other.model.model.layers[1].mlp.up_proj.weight += 0.01
    save_policy(other, saved)
    with pytest.raises(UserError, match="this adapter was trained on other weights than those"):
        load_policy(folder / "checkpoint", "cpu")
    (folder / "checkpoint" / "base.json").unlink()  # an adapter of somebody else: nobody can tell
    save_policy(make_policy("llama"), saved)
    with pytest.raises(UserError, match="this adapter does not fit its base model"):
        load_policy(folder / "checkpoint", "cpu")


@pytest.mark.parametrize("file", ["adapter_config.json", "base.json"])
@pytest.mark.parametrize(("text", "said"), [("{", "is not JSON"), ("[]", "is not a JSON object")])
def test_damaged_files_are_told(
    file: str, text: str, said: str, folders: tuple[Path, torch.Tensor, torch.Tensor]
) -> None:
    (folders[0] / "checkpoint" / file).write_text(text)
    with pytest.raises(UserError, match=f"{file} {said}"):
        load_policy(folders[0] / "checkpoint", "cpu")


def test_a_recipe_may_start_from_it(folders: tuple[Path, torch.Tensor, torch.Tensor], saved: Path) -> None:
    folder = str(folders[0] / "checkpoint")
    check_folder(folder)
    with pytest.raises(UserError, match=r"is an adapter .*; merge it into its base model first"):  # no policy
        load_parts(folder, AutoModelForCausalLM, torch.device("cpu"))
    (saved / "config.json").unlink()
    with pytest.raises(UserError, match=f"model {saved.resolve()}: it has no config.json"):
        check_folder(folder)


def test_damaged_weights_are_told(folders: tuple[Path, torch.Tensor, torch.Tensor]) -> None:
    (folders[0] / "checkpoint" / "adapter_model.safetensors").write_bytes(b"x" * 20)
    with pytest.raises(UserError, match="does not fit"):
        load_policy(folders[0] / "checkpoint", "cpu")


def test_weights_that_lack_a_layer_are_told(folders: tuple[Path, torch.Tensor, torch.Tensor]) -> None:
    file = folders[0] / "checkpoint" / "adapter_model.safetensors"
    weights = load_file(file)
    del weights["base_model.model.model.layers.1.mlp.up_proj.lora_B.weight"]
    save_file(weights, file)
    with pytest.raises(UserError, match=r"does not fit its base model .* missing adapter keys .*up_proj.lora_B"):
        load_policy(folders[0] / "checkpoint", "cpu")


def test_a_name_on_the_hub_stays_a_name(make_policy: Callable[..., Policy], tmp_path: Path) -> None:
    policy = make_policy("llama")
    policy.source = "someone/some-model"
    trained_adapter(policy, tmp_path)
    assert base_of(str(tmp_path / "checkpoint")) == "someone/some-model"


def test_what_cannot_be_done_is_one_line(make_policy: Callable[..., Policy], monkeypatch: pytest.MonkeyPatch) -> None:
    model = make_policy("llama").model
    with pytest.raises(UserError, match="no linear layer is called 'query'; its layers are down_proj, gate_proj, k_"):
        add_adapter(model, LoraConfig(targets=("q_proj", "query")), "x", 1)
    with pytest.raises(UserError, match="GPT2LMHeadModel has no linear layers"):
        add_adapter(make_policy("gpt2").model, LoraConfig(), "x", 1)
    add_adapter(model, LoraConfig(), "x", 1)
    with pytest.raises(UserError, match="already has an adapter"):
        add_adapter(model, LoraConfig(), "x", 1)
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(UserError, match=r"need the package peft: pip install 'taosr-she\[lora\]'"):
        add_adapter(make_policy("llama").model, LoraConfig(), "x", 1)


def test_the_same_seed_gives_the_same_adapter(make_policy: Callable[..., Policy]) -> None:
    def drawn(seed: int) -> torch.Tensor:
        model = make_policy("llama").model
        add_adapter(model, LoraConfig(), "x", seed)
        weight: torch.Tensor = model.model.layers[1].mlp.up_proj.lora_A.default.weight
        return weight

    first = drawn(1)
    assert torch.equal(first, drawn(1)) and not torch.equal(first, drawn(2))


def test_folded_it_is_the_plain_model(make_policy: Callable[..., Policy], tmp_path: Path) -> None:
    policy = make_policy("qwen2")
    said = trained_adapter(policy, tmp_path)
    fold(policy.model)
    torch.testing.assert_close(logits(policy.model), said, atol=1e-4, rtol=1e-4)
    assert set(dict(policy.model.named_modules())) == set(dict(make_policy("qwen2").model.named_modules()))
