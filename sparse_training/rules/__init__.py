"""How the mask is chosen and changed: every rule a frozen object, a family of rules a file.

    topology.py         Topology and Updates: the rules put together, which is what a variant is
    first_mask.py       random or by saliency, before training
    densities.py        how many weights each layer gets (Erdos-Renyi)
    saliency.py         SNIP, GraSP, SynFlow; what two of them compute for perceptrons in
                        saliency_perceptron.py, for convolutions in saliency_autograd.py (PyTorch)
    when.py             when an update is due, and what it does to the step beside it
    amount.py           what fraction of the weights an update drops
    drop.py             which ones it drops
    grow.py             which positions it grows
    paths.py            scores of free positions by the paths that lead there
    redistribution.py   in which layers it grows them
    new_weights.py      values and optimiser state of grown weights
    density_path.py     more weights on the way to the budget
    neurons.py          neurons that lose all their weights
    view.py             what an update sees of the network
    update.py           one update: drop, grow, all layers

A rule carries its fields with meaning and source, checks itself when it is made, says what an
update must look at for it (`needs`, which the ledger prices) and is otherwise a pure function. To
add one, write a class with the methods of its family's protocol: the engines, the ledger and the
loop need not know it.

**Differs** from the authors' codes in two things everywhere: counts are exact (no Bernoulli masks),
for the budget is checked at every step; and an inactive weight never competes with an active one
that happens to be zero (RigL's code adds noise to the scores of all positions and can keep an
inactive one).
"""
