"""Shapes of known models, for models with random weights."""

from typing import Any

from transformers import CONFIG_MAPPING, PretrainedConfig

SHAPES: dict[str, dict[str, Any]] = {
    "qwen3-0.6b": {
        "model_type": "qwen3", "vocab_size": 151936, "hidden_size": 1024, "intermediate_size": 3072,
        "num_hidden_layers": 28, "num_attention_heads": 16, "num_key_value_heads": 8, "head_dim": 128,
        "tie_word_embeddings": True,
    },
    "smollm2-135m": {
        "model_type": "llama", "vocab_size": 49152, "hidden_size": 576, "intermediate_size": 1536,
        "num_hidden_layers": 30, "num_attention_heads": 9, "num_key_value_heads": 3, "head_dim": 64,
        "tie_word_embeddings": True,
    },
    "small": {
        "model_type": "qwen3", "vocab_size": 8192, "hidden_size": 256, "intermediate_size": 512,
        "num_hidden_layers": 4, "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 32,
        "tie_word_embeddings": True,
    },
}  # fmt: skip
"""Shapes of models with random weights, by name; `small` is for trying the benchmark on a CPU."""


def shape_config(shape: str, **options: Any) -> PretrainedConfig:
    """The configuration of a model of this shape."""
    shaped = dict(SHAPES[shape])
    config: PretrainedConfig = CONFIG_MAPPING[shaped.pop("model_type")](**shaped, **options)
    return config
