"""Several chains of reasoning about one pair, made into one answer.

After one chain the label distribution is often sharp, because the chain has decided. Its mean over several sampled
chains also holds what the model doubts: it is the label distribution with the reasoning summed out, estimated. Source:
self-consistency (Wang et al. 2022, 2203.11171), with distributions in place of votes.
"""

from collections.abc import Sequence
from typing import NamedTuple
from zlib import crc32

import numpy as np

from taosr_she.domain.response import Response
from taosr_she.model.sampling import Sampling

HOT = 1.0
"""Temperature of the chains where answers are greedy otherwise: at 0 they would all be the same."""


class Answer(NamedTuple):
    """What is known of a pair after one chain or several."""

    response: Response  # the chain that is shown
    probs: np.ndarray | None  # (L,) over the label codes; None if no chain comes to a label
    tokens: int  # of all chains


def merged(
    responses: Sequence[Response], probs: Sequence[np.ndarray | None], tokens: Sequence[int], codes: Sequence[str]
) -> Answer:
    """One answer from K chains. Shown is the first well-formed one whose label has the largest mean probability among
    the labels that are written, so the steps lead to the label; without a well-formed one, the first."""
    known = [row for row in probs if row is not None]
    mean = np.mean(known, axis=0) if known else None
    best, shown = -1.0, responses[0]
    for response in responses:
        if response.well_formed and response.label is not None and mean is not None:
            reached = float(mean[codes.index(response.label)])
            if reached > best:
                best, shown = reached, response
    return Answer(shown, mean, sum(tokens))


def sampled(sampling: Sampling) -> Sampling:
    """The sampling of several chains."""
    return sampling.model_copy(update={"temperature": sampling.temperature or HOT})


def numbers_of(prompts: Sequence[Sequence[int]]) -> list[int]:
    """A number for each prompt that decides about its random numbers: the same pair gets the same chains, whatever else
    is judged with it."""
    return [crc32(np.asarray(prompt, dtype=np.int64).tobytes()) for prompt in prompts]
