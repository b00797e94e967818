"""Scores of some tokens of whole sequences against the full softmax, values and gradients, packed and padded."""

from contextlib import nullcontext

import pytest
import torch

from taosr_she.engine.labelled import labelled_logprobs
from taosr_she.engine.packing import packed
from taosr_she.engine.speedups import without
from taosr_she.model.policy import Policy

SHARED = [5, 9, 3, 11, 7, 2, 8]
SEQUENCES = {
    "nothing in common": [[5, 9, 3, 11, 7], [4, 2], [6, 3, 8, 8]],
    "one beginning": [[*SHARED, 4, 2], [*SHARED, 6], [*SHARED, 4, 3, 9]],
    "twice the same": [[*SHARED, 4, 2]] * 2,
}
ROWS, POSITIONS, TOKENS = (0, 0, 1, 1, 1), (1, 4, 0, 1, 1), (7, 3, 12, 9, 30)


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("name", SEQUENCES)
def test_equals_the_full_softmax(name: str, shared: bool, any_policy: Policy) -> None:
    model, sequences = any_policy.model, SEQUENCES[name]
    with nullcontext() if shared else without("shared_prompts"):
        found = labelled_logprobs(model, sequences, ROWS, POSITIONS, TOKENS)
    expected = torch.stack(
        [
            model(torch.tensor([sequences[row]], device=any_policy.device)).logits[0, position].log_softmax(-1)[token]
            for row, position, token in zip(ROWS, POSITIONS, TOKENS, strict=True)
        ]
    )
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    weights = torch.linspace(-1, 2, len(ROWS), device=any_policy.device)
    parameters = list(model.parameters())
    ours, plain = (torch.autograd.grad((weights * x).sum(), parameters) for x in (found, expected))
    torch.testing.assert_close(ours, plain, atol=1e-4, rtol=1e-3)


def test_what_sequences_begin_with_is_run_once() -> None:
    device = torch.device("cpu")
    assert packed(SEQUENCES["one beginning"], device).ids.shape[1] == len(SHARED) + 2 + 1 + 3
    assert packed(SEQUENCES["nothing in common"], device).ids.shape[1] == 11
