"""The start of a run: how many weights, which first, and the engine that trains them."""

from dataclasses import dataclass, replace

from sparse_training.engines.interface import Engine, EngineFactory, Setup
from sparse_training.errors import BadInput, OverBudget
from sparse_training.loop.budget import Account, Budget, forward_flops
from sparse_training.loop.mask import Mask
from sparse_training.loop.recipe import Recipe
from sparse_training.loop.streams import Streams
from sparse_training.networks.network import Network
from sparse_training.rules.first_mask import Untrained
from sparse_training.rules.topology import Topology


@dataclass(frozen=True)
class Start:
    """What training begins with."""

    mask: Mask
    engine: Engine
    weights: int
    """Weights under the masks at the start, the most there may be at any step."""
    budget: int
    """Weights under the masks at the end."""


def begin(
    engine_factory: EngineFactory,
    empty: Setup,
    recipe: Recipe,
    topology: Topology,
    budget: Budget,
    account: Account,
    random: Streams,
) -> Start:
    """Chooses the first mask and the first weights and builds the engine.

    empty: the engine's setup without a weight. What the first mask takes of the training budget is
    charged to the account. Raises BadInput for budgets that cannot work.
    """
    network = empty.network
    final, first = weights_of(topology, budget, network)
    chosen = topology.first_mask.choose(
        Untrained(
            empty=empty,
            engine_factory=engine_factory,
            initial_weights=recipe.initial_weights,
            batch_size=recipe.batch_size,
            masks=random.masks,
            weights=random.weights,
        ),
        first,
    )
    account.samples += chosen.samples
    account.flops += chosen.passes * forward_flops(network, network.sizes)
    setup = replace(empty, active=chosen.active, values=chosen.values, budget=first)
    return Start(Mask(chosen.active), engine_factory(setup), first, final)


def weights_of(topology: Topology, budget: Budget, network: Network) -> tuple[int, int]:
    """(weights active at the end, at the start) under the masks of a network.

    What normalisation and activation train beside them is paid from the same budget, and from the
    same peak, first. Raises OverBudget where nothing is left.
    """
    total, own = network.size, network.neuron_parameters
    if not topology.first_mask.within_budget:
        return total, total
    if budget.active_weights is None:
        raise BadInput("a sparse network needs a budget of active weights: found none")
    final = min(budget.active_weights - own, total)
    if own and final < (least := len(network.layers)):
        raise OverBudget(
            f"{_taken_by(network)} {own:,} of {budget.active_weights:,} active "
            f"weights: expected at least {least} left, one a layer"
        )
    path = None if topology.updates is None else topology.updates.path
    if path is None:
        return final, final
    if budget.peak_weights is None:
        raise BadInput(
            f"a density path ({type(path).__name__.lower()}) holds more weights on its way than at "
            "its end: expected --peak-weights or --peak, which say how many"
        )
    asked = round(path.factor * final)
    return final, max(final, min(budget.peak_weights - own, total, asked))


def _taken_by(network: Network) -> str:
    """What has parameters of every neuron: `norm batch and srelu take`."""
    norm, activation = network.norm, network.activation
    named = [f"norm {norm.name.lower()}"] * (norm.parameters > 0)
    named += [type(activation).__name__.lower()] * (activation.parameters > 0)
    return " and ".join(named) + (" take" if len(named) > 1 else " takes")
