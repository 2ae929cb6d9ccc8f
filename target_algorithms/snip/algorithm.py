"""SNIP and its successors: a mask chosen before training by saliency, which then never changes.

**Source**: Lee, Ajanthan, Torr, "SNIP: Single-shot network pruning based on connection
sensitivity", ICLR 2019, https://arxiv.org/abs/1810.02340; GraSP: Wang et al., ICLR 2020,
https://arxiv.org/abs/2002.07376; SynFlow: Tanaka et al., NeurIPS 2020,
https://arxiv.org/abs/2006.05467.
**Differs**: see README.md and `saliency`.
"""

from typing import Literal

from target_algorithms.settings import Topology


def topology(*, init_mask: Literal["snip", "grasp", "synflow"]) -> Topology:
    """A fixed mask of the largest saliencies."""
    return Topology(kind="static", init_mask=init_mask)
