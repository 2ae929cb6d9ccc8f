"""Sparse training as a library: rules, the loop that applies them, engines, networks, data.

Knows no variant, no scenario and no configurator: a variant is a value of
`rules.topology.Topology`.

    data/       instances: which rows train and which evaluate, ready in memory
    loop/       the training loop: budget and prices, the start, steps, updates of the mask
    rules/      how the mask is chosen and changed: frozen objects, a family of rules a file
    engines/    what computes steps and gradients: masked PyTorch, truly sparse C
    networks/   layers, initial weights and dropout as data, for any engine
    positions.py, ranking.py    sets of positions; the largest scores, and how ties are settled
    schedules.py, errors.py, files.py, machine.py       what all of them use
    crossover.py        from which density on the truly sparse engine pays, measured

Imports point downwards in this list; `data` stands beside the others.
"""
