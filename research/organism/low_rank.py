"""Low-rank updates of the decoder's matrices (LoRA, arXiv 2106.09685), and merging them."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from research.organism.model import Organism


class _Update(nn.Module):
    """A matrix plus a product of two thin ones, which is zero at first."""

    def __init__(self, weight: Tensor, rank: int) -> None:
        super().__init__()
        rows, columns = weight.shape
        self.left = nn.Parameter(torch.zeros(rows, rank))
        self.right = nn.Parameter(torch.randn(rank, columns) * columns**-0.5)

    def forward(self, weight: Tensor) -> Tensor:
        """Return the updated matrix."""
        return weight + self.left @ self.right


def add(organism: Organism, rank: int) -> None:
    """Freeze ``organism`` and give each matrix of its decoder's layers an update of ``rank``."""
    organism.requires_grad_(False)
    for module in list(organism.blocks.modules()):
        if isinstance(module, nn.Linear):
            parametrize.register_parametrization(module, "weight", _Update(module.weight, rank))


def merged(organism: Organism) -> Organism:
    """Return a copy with the updates added to the matrices; ``organism`` can be trained further."""
    # Not by PyTorch's own removal: that takes the parametrised matrix from the class, which the
    # copy shares with what it was copied from.
    whole = Organism(organism.shape)
    with torch.no_grad():
        for name, weight in whole.named_parameters():
            module, _, own = name.rpartition(".")
            weight.copy_(getattr(organism.get_submodule(module), own))
    return whole
