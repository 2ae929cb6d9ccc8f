"""SNIP and its successors: a mask chosen before training by saliency, which then never changes.

**Source**: Lee, Ajanthan, Torr, "SNIP: Single-shot network pruning based on connection
sensitivity", ICLR 2019, https://arxiv.org/abs/1810.02340; GraSP: Wang et al., ICLR 2020,
https://arxiv.org/abs/2002.07376; SynFlow: Tanaka et al., NeurIPS 2020,
https://arxiv.org/abs/2006.05467.
**Differs** as `sparse_training.rules.saliency` says: the data are one training batch, SynFlow's
network is linear; and at least one weight of each layer stays.
"""

from typing import Literal

from sparse_training.rules.first_mask import MostSalient
from sparse_training.rules.saliency import Grasp, Saliency, Snip, SynFlow
from sparse_training.rules.topology import Topology


def compose(*, init_mask: Literal["snip", "grasp", "synflow"]) -> Topology:
    """A fixed mask of the largest saliencies."""
    saliencies: dict[str, Saliency] = {"snip": Snip(), "grasp": Grasp(), "synflow": SynFlow()}
    return Topology(first_mask=MostSalient(saliencies[init_mask]))
