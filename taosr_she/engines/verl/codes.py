"""Step verdicts written into the rewards of tokens, and read back: `pack` and `unpack`.

The reward of token t is `2 (s + 1) + v`: s is the index of the step that the token belongs to, v a verdict. Tokens
0 to K - 1 carry the verdicts of steps 0 to K - 1, also of steps that the response lacks, token K carries the outcome,
and the rest 0. A verdict is rounded down to a multiple of 2**-18 (so right stays right), and unknown is 1.5. All these
are exact in float32.

A response with fewer than K + 1 tokens has no room for numbers: its token 0 carries right, wrong or unknown of every
step and the outcome as digits. Its sections cannot be complete, so its verdicts are 0 or unknown nearly always.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from taosr_she.base.errors import UserError

LEVELS = 2**18
"""Levels of a verdict between 0 and 1."""
UNKNOWN = 1.5
MOST_STEPS = 10
"""Steps of a domain: 3 ** (steps + 1) digits must fit in LEVELS, and 2 (steps + 1) + UNKNOWN in float32 beside them."""
_WRONG, _RIGHT, _UNKNOWN = 0, 1, 2
_HALF = 0.5


def check_steps(steps: int) -> None:
    """UserError for a domain with too many steps."""
    if steps > MOST_STEPS:
        raise UserError(f"the domain has {steps} steps; in verl's rewards of tokens there is room for {MOST_STEPS}")


def pack(token_steps: Sequence[int], verdicts: Tensor, outcome: float) -> Tensor:
    """The rewards (T,) float32 of the T tokens of a response: token_steps T indices, verdicts (K,) in [0, 1] or NaN,
    outcome in [0, 1]."""
    numbers = torch.cat([verdicts.double(), torch.tensor([outcome], dtype=torch.float64)])
    check_steps(len(verdicts))
    carried = torch.zeros(len(token_steps), dtype=torch.float64)
    if len(token_steps) >= len(numbers):
        levels = (numbers * LEVELS).floor() / LEVELS
        carried[: len(numbers)] = torch.where(numbers.isnan(), torch.full_like(levels, UNKNOWN), levels)
    elif len(token_steps):
        digits = [_UNKNOWN if n != n else _RIGHT if n >= _HALF else _WRONG for n in numbers.tolist()]
        carried[0] = sum(digit * 3**place for place, digit in enumerate(digits)) / LEVELS
    return (2 * (torch.tensor(token_steps, dtype=torch.float64) + 1) + carried).float()


def unpack(rewards: Tensor, mask: Tensor, steps: int) -> tuple[Tensor, Tensor, Tensor]:
    """What `pack` was given: rewards (B, T), mask (B, T) of generated tokens, K steps -> token_steps (B, T) long, -1
    where the mask is 0, verdicts (B, K) float32, outcomes (B,) float32.

    A row without a generated token (verl's padding) has unknown verdicts and the outcome 0. Raises UserError for
    rewards that `pack` has not written.
    """
    check_steps(steps)
    generated, whole = mask.bool(), (rewards / 2).floor()
    carried = (rewards - 2 * whole).double()
    token_steps = torch.where(generated, whole.long() - 1, torch.full_like(whole, -1, dtype=torch.long))
    valid = (
        (token_steps >= 0)
        & (token_steps < steps)
        & (((carried <= 1) & ((carried * LEVELS) % 1 == 0)) | (carried == UNKNOWN))
    )
    if not bool((valid | ~generated).all()) or not bool((generated[:, 1:] <= generated[:, :-1]).all()):
        raise UserError(
            "the rewards of tokens are not those of the agent loop `srpo`: use it for all rows, without "
            "algorithm.use_kl_in_reward, a reward model or a reward function of verl's"
        )
    numbers = torch.full((len(rewards), steps + 1), float("nan"), dtype=torch.float64)
    numbers[:, steps] = 0.0
    lengths = generated.sum(dim=1)
    room = lengths > steps
    if bool(room.any()):
        read = carried[room, : steps + 1]
        numbers[room] = torch.where(read == UNKNOWN, torch.full_like(read, float("nan")), read).to(numbers.device)
    for row in ((lengths > 0) & ~room).nonzero()[:, 0].tolist():
        code = int(carried[row, 0] * LEVELS)
        digits = [code // 3**place % 3 for place in range(steps + 1)]
        numbers[row] = torch.tensor([float("nan") if digit == _UNKNOWN else float(digit) for digit in digits])
    return token_steps, numbers[:, :steps].float(), numbers[:, steps].float()
