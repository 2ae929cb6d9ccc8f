import pytest

from target_algorithms.ledger import Ledger, inference_flops


@pytest.mark.parametrize(
    ("interval", "expected"), [(50, 0.205229), (100, 0.202640), (1000, 0.200266)]
)
def test_rigl_costs_the_published_share_of_dense_training(interval: int, expected: float) -> None:
    weights, active, batch = 1000, 200, 32
    ledger = Ledger(weights)
    for _ in range(interval):
        ledger.charge_step(active, batch)
    ledger.charge_dense_gradient(active, batch)
    dense = (interval + 1) * 3 * inference_flops(weights) * batch
    assert ledger.total / dense == pytest.approx(expected, abs=5e-7)


def test_a_step_at_density_one_fifth_costs_one_fifth() -> None:
    sparse, dense = Ledger(1000), Ledger(1000)
    sparse.charge_step(200, 8)
    dense.charge_step(1000, 8)
    assert sparse.total / dense.total == pytest.approx(0.2)


def test_a_forward_pass_counts_multiplications_and_additions() -> None:
    assert inference_flops(26621) == 53242
