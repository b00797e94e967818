"""Statistics over the rollouts of one pair, for any group ids and sizes, without a loop over groups."""

import torch
from torch import Tensor

STD_EPSILON = 1e-4
"""Added to the standard deviation, as TRL does."""


def group_index(groups: Tensor) -> tuple[Tensor, int]:
    """groups (B,) any integers -> (index (B,) in [0, n), n), numbered by ascending id."""
    unique, index = torch.unique(groups, return_inverse=True)
    return index, len(unique)


def group_sum(values: Tensor, index: Tensor, n: int) -> Tensor:
    """values (B, K) summed within groups -> (n, K)."""
    return torch.zeros(n, values.shape[1], dtype=values.dtype, device=values.device).index_add_(0, index, values)


def centred(values: Tensor, known: Tensor, groups: Tensor, std: bool) -> Tensor:
    """The design's `z`: values (B, K) minus the group's mean over `known` (B, K) entries -> (B, K), 0 where unknown.

    With `std`, also divided by the group's standard deviation (unbiased, as TRL's; 0 for a single value) plus 1e-4.
    A group whose known values are equal gets exactly 0.
    """
    index, n = group_index(groups)
    weight = known.to(values.dtype)
    count = group_sum(weight, index, n)
    # Values are measured from the group's lowest one, so that the mean of equal values is exact. Measured from 0, a
    # rounding error would remain, and dividing it by a standard deviation near 0 would turn it into signal.
    lowest = torch.full((n, values.shape[1]), torch.inf, dtype=values.dtype, device=values.device)
    lowest.scatter_reduce_(0, index[:, None].expand_as(values), values.masked_fill(~known, torch.inf), "amin")
    above = torch.where(known, values - lowest[index], torch.zeros_like(values))
    mean = group_sum(above, index, n) / count.clamp(min=1)
    difference = (above - mean[index]) * weight
    if not std:
        return difference
    variance = group_sum(difference**2, index, n) / (count - 1).clamp(min=1)
    return difference / (variance.sqrt() + STD_EPSILON)[index]


def disagreeing(right: Tensor, known: Tensor, groups: Tensor) -> Tensor:
    """(B, K) bool: the step is critical, i.e. among the group's known entries some are right (B, K) and some wrong."""
    index, n = group_index(groups)
    some_right = group_sum((right & known).float(), index, n) > 0
    some_wrong = group_sum((~right & known).float(), index, n) > 0
    return (some_right & some_wrong)[index]
