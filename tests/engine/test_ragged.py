"""Ragged rows: there and back, and what stands in the padding."""

import torch

from taosr_she.engine.ragged import Ragged


def test_ragged_is_its_own_inverse() -> None:
    ragged = Ragged([2, 0, 3], torch.device("cpu"))
    flat = torch.arange(10.0).view(5, 2).requires_grad_()
    rows = ragged.rows(flat)
    assert rows.shape == (3, 3, 2)
    assert torch.equal(rows[0, :2], flat[:2]) and torch.equal(rows[2], flat[2:])
    back = ragged.flat(rows)
    assert torch.equal(back, flat)
    back.square().sum().backward()
    assert torch.equal(flat.grad, 2 * flat.detach())


def test_padding_is_filled() -> None:
    flat = torch.arange(1.0, 6.0)
    filled = Ragged([2, 0, 3], torch.device("cpu")).filled(flat, torch.inf)
    assert filled.tolist() == [[1, 2, torch.inf], [torch.inf] * 3, [3, 4, 5]]
    assert torch.equal(Ragged([2, 2], torch.device("cpu")).filled(flat[:4], 0.0), flat[:4].view(2, 2))
