"""SFT by both engines: loss on labels alone, exact resume after a kill, a checkpoint and model for later stages."""

import json
import random
import shutil
from pathlib import Path
from typing import Literal, NamedTuple

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    AutoModelForCausalLM,
    BertConfig,
    BertLMHeadModel,
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from taosr_she.base.errors import UserError
from taosr_she.engine.runner import is_lean
from taosr_she.model.example import IGNORE, Example, answer
from taosr_she.model.policy import Policy
from taosr_she.recipe.resume import saved_point
from taosr_she.train.sft.settings import SFTSettings
from taosr_she.train.sft.train import train_sft
from taosr_she.train.trl.checkpoints import last_complete_checkpoint

VOCAB, PAD, END = 40, 0, 1
SETTINGS = SFTSettings(epochs=4, batch_size=4, learning_rate=2e-2, save_every=3)
BY_TRL = SETTINGS.model_copy(update={"engine": "trl"})
ENGINES = pytest.mark.parametrize("engine", ["own", "trl"])


def tiny_policy() -> Policy:
    """Qwen3 of a few thousand weights, with dropout so that a wrong random state on resume would show."""
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=VOCAB, hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=2, head_dim=8, attention_dropout=0.2, tie_word_embeddings=True,
        pad_token_id=PAD, eos_token_id=END, bos_token_id=None,
    )  # fmt: skip
    words = {"<pad>": PAD, "<end>": END} | {f"w{i}": i for i in range(2, VOCAB)}
    core = Tokenizer(models.WordLevel(words, unk_token="w2"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, pad_token="<pad>", eos_token="<end>")
    return Policy(Qwen3ForCausalLM(config).eval(), tokenizer, torch.device("cpu"))


def make_examples(n: int = 10) -> list[Example]:
    """Prompts of 3 to 9 random tokens; the response repeats the first prompt token, then ends."""
    rng = random.Random(7)
    prompts = [[rng.randrange(2, VOCAB) for _ in range(rng.randint(3, 9))] for _ in range(n)]
    return [answer(prompt, [prompt[0]] * rng.randint(1, 3) + [END]) for prompt in prompts]


def read_rows(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def without_seconds(rows: list[dict[str, float]]) -> list[dict[str, float]]:
    return [{k: v for k, v in row.items() if k != "seconds"} for row in rows]


class Run(NamedTuple):
    settings: SFTSettings
    folder: Path
    policy: Policy


def assert_same_weights(a: torch.nn.Module, b: torch.nn.Module) -> None:
    ours, theirs = a.state_dict(), b.state_dict()
    assert ours.keys() == theirs.keys()
    assert [k for k in ours if not torch.equal(ours[k], theirs[k])] == []


@ENGINES
def test_first_loss_is_the_mean_over_labels_of_the_batch(engine: Literal["own", "trl"], tmp_path: Path) -> None:
    policy = tiny_policy()
    policy.model.config.attention_dropout = 0.0
    for layer in policy.model.model.layers:
        layer.self_attn.attention_dropout = 0.0
    examples = [*make_examples(9), Example([2, 3, 4, 5], [IGNORE, 7, IGNORE, 5])]  # learns 7 where it reads 3
    total, count = 0.0, 0
    for ids, labels, _ in examples:  # one by one: no padding, no mask
        with torch.no_grad():
            logprobs = policy.model(torch.tensor([ids])).logits[0].double().log_softmax(-1)
        for i, token in enumerate(labels):
            if token != IGNORE:
                total -= logprobs[i - 1, token].item()
                count += 1
    train_sft(policy, examples, SFTSettings(engine=engine, epochs=1, batch_size=4, accumulate=3), 1, tmp_path)
    (row,) = read_rows(tmp_path)
    assert row["loss"] == pytest.approx(total / count, rel=1e-5)


@pytest.fixture(scope="module", params=[SETTINGS, BY_TRL], ids=lambda settings: settings.engine)
def finished(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """An uninterrupted run with seed 5."""
    folder = tmp_path_factory.mktemp("whole")
    return Run(request.param, folder, train_sft(tiny_policy(), make_examples(), request.param, 5, folder))


def test_metrics_and_learning(finished: Run) -> None:
    rows = read_rows(finished.folder)
    assert [row["step"] for row in rows] == list(range(1, SETTINGS.total_steps(10) + 1)) == list(range(1, 11))
    assert rows[-1]["loss"] < 0.9 * rows[0]["loss"]
    assert [row["seconds"] for row in rows] == sorted(row["seconds"] for row in rows)
    assert max(row["lr"] for row in rows) == SETTINGS.learning_rate and rows[-1]["lr"] < 0.1 * SETTINGS.learning_rate


def test_model_is_left_as_a_plain_model(finished: Run) -> None:
    _, folder, policy = finished
    assert "forward" not in vars(policy.model) and not policy.model.training
    assert is_lean(policy.model)  # no hook is left: the fast pass is open to later stages
    loaded = AutoModelForCausalLM.from_pretrained(folder / "checkpoint")
    assert_same_weights(policy.model, loaded)
    ids = torch.tensor([[5, 6, 7]])
    with torch.no_grad():
        assert torch.equal(policy.model(ids).logits, loaded(ids).logits)
    assert sorted(p.name for p in folder.iterdir()) == ["checkpoint", "metrics.jsonl", "sft.json"]


class Killed(BaseException):
    pass


def kill_at_8(row: dict[str, float]) -> None:
    if row["step"] == 8:
        raise Killed


def test_killed_run_resumes_to_the_same_weights(finished: Run, tmp_path: Path) -> None:
    settings = finished.settings
    with pytest.raises(Killed):
        train_sft(tiny_policy(), make_examples(), settings, 5, tmp_path, kill_at_8)
    assert saved_point(tmp_path) == "after step 6"
    if settings.engine == "trl":
        trainer = tmp_path / "trainer"
        # As if the kill had struck while checkpoint 8 was being written and row 9 half written.
        shutil.copytree(trainer / "checkpoint-6", trainer / "checkpoint-8")
        (trainer / "checkpoint-8" / "trainer_state.json").write_text('{"global_st')
        (trainer / "checkpoint-8" / "model.safetensors").write_bytes(b"half")
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 9, "lo')
    seen: list[float] = []
    resumed = train_sft(tiny_policy(), make_examples(), settings, 5, tmp_path, lambda row: seen.append(row["step"]))
    assert seen == [7, 8, 9, 10]
    assert_same_weights(resumed.model, finished.policy.model)
    assert without_seconds(read_rows(tmp_path)) == without_seconds(read_rows(finished.folder))


@pytest.mark.parametrize("damage", ["state cut short", "no state", "no rows"])
def test_what_cannot_be_resumed_starts_again_with_the_same_result(damage: str, tmp_path: Path) -> None:
    with pytest.raises(Killed):
        train_sft(tiny_policy(), make_examples(), SETTINGS, 5, tmp_path / "killed", kill_at_8)
    state = tmp_path / "killed" / "state.pt"
    if damage == "state cut short":
        state.write_bytes(state.read_bytes()[:-100])
    elif damage == "no state":
        state.unlink()
    else:
        (tmp_path / "killed" / "metrics.jsonl").unlink()
    seen: list[float] = []
    again = train_sft(
        tiny_policy(), make_examples(), SETTINGS, 5, tmp_path / "killed", lambda row: seen.append(row["step"])
    )
    assert seen == list(range(1, 11))
    assert_same_weights(again.model, train_sft(tiny_policy(), make_examples(), SETTINGS, 5, tmp_path / "whole").model)


def test_another_engine_does_not_go_on_where_one_was_killed(tmp_path: Path) -> None:
    with pytest.raises(Killed):
        train_sft(tiny_policy(), make_examples(), SETTINGS, 5, tmp_path, kill_at_8)
    seen: list[float] = []
    train_sft(tiny_policy(), make_examples(), BY_TRL, 5, tmp_path, lambda row: seen.append(row["step"]))
    assert seen == list(range(1, 11)) and not (tmp_path / "state.pt").exists()


def test_finished_run_is_loaded_and_another_run_starts_afresh(finished: Run, tmp_path: Path) -> None:
    folder, settings = tmp_path / "sft", finished.settings
    shutil.copytree(finished.folder, folder)
    steps: list[float] = []
    again = train_sft(tiny_policy(), make_examples(), settings, 5, folder, lambda row: steps.append(row["step"]))
    assert steps == []
    assert_same_weights(again.model, finished.policy.model)
    shorter = settings.model_copy(update={"epochs": 1})
    train_sft(tiny_policy(), make_examples(), shorter, 5, folder, lambda row: steps.append(row["step"]))
    assert steps == [1, 2, 3]
    other_start = tiny_policy()
    with torch.no_grad():
        other_start.model.model.norm.weight += 1
    train_sft(other_start, make_examples(), shorter, 5, folder, lambda row: steps.append(row["step"]))
    assert steps == [1, 2, 3, 1, 2, 3]


def test_last_complete_checkpoint(tmp_path: Path) -> None:
    def write(step: int, *missing: str, state: str = '{"global_step": 1}') -> Path:
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        save_file({"weight": torch.zeros(3)}, folder / "model.safetensors")
        for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth"):
            torch.save({"some": torch.ones(2)}, folder / name)
        (folder / "trainer_state.json").write_text(state)
        for name in missing:
            (folder / name).unlink()
        return folder

    assert last_complete_checkpoint(tmp_path / "absent") is None
    write(40, "model.safetensors")
    assert last_complete_checkpoint(tmp_path) is None
    write(9)
    write(10)
    write(20, "trainer_state.json")
    write(30, state='{"step": ')
    best = last_complete_checkpoint(tmp_path)
    assert best is not None and best.name == "checkpoint-10"  # by number: "9" sorts after "10" as text
    for step, name in enumerate(("optimizer.pt", "scheduler.pt", "rng_state.pth", "model.safetensors"), start=50):
        file = write(step) / name
        for damaged in (b"", file.read_bytes()[:-9], b"x" * 900):  # no sync before a power cut, or something else
            file.write_bytes(damaged)
            assert last_complete_checkpoint(tmp_path) == best, (name, damaged)


def test_long_examples_are_left_out_and_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    examples = [*make_examples(4), answer([2] * 30, [3, END])]
    settings = SFTSettings(epochs=1, batch_size=4, max_length=20)
    train_sft(tiny_policy(), examples, settings, 1, tmp_path)
    facts = json.loads((tmp_path / "sft.json").read_text())
    assert (facts["examples"], facts["too_long"], facts["steps"]) == (4, 1, 1)
    assert "1 of 5 exceed max_length=20 (the longest has 32 tokens)" in caplog.text
    with pytest.raises(UserError, match="none of 1 fits into max_length=20"):
        train_sft(tiny_policy(), examples[4:], settings, 1, tmp_path)


@ENGINES
def test_diverged_loss_is_an_error(engine: str, tmp_path: Path) -> None:
    policy = tiny_policy()
    with torch.no_grad():
        policy.model.model.norm.weight.fill_(float("nan"))
    with pytest.raises(UserError, match=r"loss is nan at step 1: lower 'learning_rate'"):
        train_sft(policy, make_examples(), SETTINGS.model_copy(update={"engine": engine}), 1, tmp_path)


def test_settings_that_cannot_be_are_errors() -> None:
    with pytest.raises(ValidationError, match="Extra inputs"):
        SFTSettings.model_validate({"lr": 1e-3})
    with pytest.raises(ValidationError, match="gradient_checkpointing: on needs engine: trl; or lower batch_size"):
        SFTSettings.model_validate({"gradient_checkpointing": "on"})
    SFTSettings.model_validate({"gradient_checkpointing": "on", "engine": "trl"})


def test_what_ran_before_there_was_a_choice_keeps_its_fingerprint() -> None:
    assert "engine" not in BY_TRL.computed() and SETTINGS.computed()["engine"] == "own"
    assert BY_TRL.computed() == {k: v for k, v in SETTINGS.computed().items() if k != "engine"}


def test_examples_beyond_absolute_positions_are_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    config = GPT2Config(vocab_size=VOCAB, n_embd=16, n_layer=1, n_head=2, n_positions=24, eos_token_id=END)
    policy = Policy(GPT2LMHeadModel(config), tiny_policy().tokenizer, torch.device("cpu"))
    examples = [*make_examples(4), answer([2] * 30, [3, END])]
    train_sft(policy, examples, SFTSettings(epochs=1, batch_size=4), 1, tmp_path)
    assert "1 of 5 exceed the model's 24 positions (the longest has 32 tokens) and are left out" in caplog.text
    with pytest.raises(UserError, match="none of 1 fits into the model's 24 positions"):
        train_sft(policy, examples[4:], SFTSettings(epochs=1, batch_size=4), 1, tmp_path)


def test_models_that_cannot_be_trained_are_refused_first(tmp_path: Path) -> None:
    policy = tiny_policy()
    policy.model.config.quantization_config = {"quant_method": "fp8"}
    with pytest.raises(UserError, match=r"weights are quantised \(fp8\) and cannot be trained"):
        train_sft(policy, make_examples(4), SETTINGS, 1, tmp_path)
    shape = {"vocab_size": VOCAB, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    policy.model = BertLMHeadModel(
        BertConfig(**shape, intermediate_size=32, initializer_range=0.3)
    )  # sees what follows
    with pytest.raises(UserError, match="BertLMHeadModel gives a row another answer"):
        train_sft(policy, make_examples(4), SETTINGS, 1, tmp_path)
    assert not list(tmp_path.iterdir())
