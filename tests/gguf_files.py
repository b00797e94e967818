"""Small GGUF files, written with gguf's own writer: a Llama of random weights with a byte-level tokenizer."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gguf import GGMLQuantizationType, GGUFWriter
from gguf.quants import quantize
from tokenizers import pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM

CONTROL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
MERGES = ["Ġ Ġ", "r e", "re d", "Ġ red", "Ċ Ċ"]
TOKENS = [*CONTROL, *sorted(pre_tokenizers.ByteLevel.alphabet()), *(merge.replace(" ", "") for merge in MERGES)]
PIECES = ["▁", "r", "e", "d", "re"]
TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
NAMES = {
    "model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output", "model.layers": "blk",
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down", "post_attention_layernorm": "ffn_norm", "input_layernorm": "attn_norm",
}  # fmt: skip


def small_llama(tie: bool = True) -> LlamaForCausalLM:
    """Widths are multiples of 32, the block of GGML's simple types."""
    torch.manual_seed(4)
    config = LlamaConfig(
        vocab_size=len(TOKENS), hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=512, tie_word_embeddings=tie, bos_token_id=1, eos_token_id=2,
        pad_token_id=2, initializer_range=0.2,
    )  # fmt: skip
    return LlamaForCausalLM(config).eval()


def gguf_weights(model: LlamaForCausalLM) -> dict[str, np.ndarray]:
    """GGUF name -> weights as llama.cpp's converter writes them: rows of queries and keys in its own order."""
    found = {}
    for key, weights in model.state_dict().items():
        if key == "lm_head.weight" and model.config.tie_word_embeddings:
            continue
        name = key
        for theirs, ours in NAMES.items():
            name = name.replace(theirs, ours)
        array = weights.numpy()
        if "_proj" in key and key.split(".")[-2] in ("q_proj", "k_proj"):
            heads = model.config.num_attention_heads if "q_proj" in key else model.config.num_key_value_heads
            array = array.reshape(heads, 2, -1, array.shape[1]).swapaxes(1, 2).reshape(array.shape)
        found[name] = np.ascontiguousarray(array)
    return found


def write_gguf(
    path: Path,
    weights: Mapping[str, np.ndarray],
    kind: str = "F32",
    architecture: str = "llama",
    fields: Mapping[str, Any] | None = None,
    pre: str = "smollm",
    sentencepiece: bool = False,
) -> Path:
    """Matrices in the type `kind`, vectors in F32. `fields` are more texts and whole numbers; None leaves one out.

    With `sentencepiece` the tokenizer is of that kind; it has as many tokens.
    """
    writer = GGUFWriter(path, architecture)
    settings: dict[str, Any] = {
        "general.name": "Small", "general.license": "apache-2.0", "llama.block_count": 2, "llama.context_length": 512,
        "llama.embedding_length": 64, "llama.feed_forward_length": 96, "llama.attention.head_count": 4,
        "llama.attention.head_count_kv": 2, "llama.rope.dimension_count": 16, "llama.vocab_size": len(TOKENS),
        "tokenizer.ggml.model": "llama" if sentencepiece else "gpt2", "tokenizer.ggml.pre": pre,
        "tokenizer.chat_template": TEMPLATE,
        "tokenizer.ggml.bos_token_id": 1, "tokenizer.ggml.eos_token_id": 2, "tokenizer.ggml.padding_token_id": 2,
        "tokenizer.ggml.unknown_token_id": 0,
    } | dict(fields or {})  # fmt: skip
    for key, value in settings.items():
        if isinstance(value, str):
            writer.add_string(key, value)
        elif value is not None:
            writer.add_uint32(key, value)
    writer.add_float32("llama.attention.layer_norm_rms_epsilon", 1e-6)
    writer.add_float32("llama.rope.freq_base", 10000.0)
    writer.add_bool("tokenizer.ggml.add_bos_token", False)
    if sentencepiece:
        writer.add_token_list(["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *PIECES])
        writer.add_token_scores([0.0] * 259 + [-float(n) for n in range(len(PIECES))])
        writer.add_token_types([2, 3, 3] + [6] * 256 + [1] * len(PIECES))
    else:
        writer.add_token_list(TOKENS)
        writer.add_token_types([3] * len(CONTROL) + [1] * (len(TOKENS) - len(CONTROL)))
        writer.add_token_merges(MERGES)
    for name, array in weights.items():
        if array.ndim == 1 or kind == "F32":
            writer.add_tensor(name, array.astype(np.float32))
        else:
            quantisation = GGMLQuantizationType[kind]
            writer.add_tensor(name, quantize(array, quantisation), raw_dtype=quantisation)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def small_gguf(path: Path, kind: str = "Q8_0", **how: Any) -> Path:
    """The file of `small_llama`."""
    return write_gguf(path, gguf_weights(small_llama()), kind, **how)
