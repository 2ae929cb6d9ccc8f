"""The training loop: what a budget pays for, step after step.

training.py         train(): the loop itself, and what came of it
recipe.py           optimiser, learning rate, network: everything beside the topology
budget.py           what a scenario grants, what things cost, what is spent
start.py            first mask, first weights, the engine
mask.py             the active weights now, and those that have ever been active
steps.py            optimiser steps, handed to the engine a segment at a time
mask_updates.py     when the mask is updated, and how the rules see the network then
streams.py          random streams and batches
"""
