"""Networks of real sizes multiply by oneDNN, those of the tests do not: both ways are the same networks."""

import pytest
import torch

from imitation.control.networks import Perceptron, SmoothPerceptron
from imitation.nn import products
from imitation.policies import HetStat
from imitation.population import Generators, normal_like


def perceptron(value):
    network = Perceptron([5, 8, 6, 1], Generators([0, 1, 2]))
    return network, [network(value), *network.with_slope(value)]


def smooth(value):
    network = SmoothPerceptron([5, 8, 6, 1], Generators([0, 1, 2]))
    return network, [*network.with_slope(value), *network.with_slope(value, 7)]


def hetstat(value):
    network = HetStat(5, 2, Generators([0, 1, 2]), (8, 8), features=16)
    return network, list(network(value))


@pytest.mark.parametrize("run", [perceptron, smooth, hetstat])
def test_outputs_and_gradients_do_not_depend_on_the_products(run, monkeypatch):
    value = normal_like(torch.empty(3, 33, 5), Generators([6, 7, 8]))
    found = []
    for large in (0, 2**60):
        monkeypatch.setattr(products, "LARGE", large)
        network, outputs = run(value)
        sum(one.square().sum() for one in outputs).backward()
        found.append([*outputs, *(one.grad for one in network.parameters())])
    assert len(found[0]) == len(found[1])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_the_threshold_parts_what_a_laptop_trains_from_what_was_published():
    if not products._fused(torch.empty(1, 4096, 4096), 4096):
        pytest.skip("a torch or a processor that oneDNN's layer does not serve")
    assert not products._fused(torch.empty(3, 64, 64), 128)
    assert products._fused(torch.empty(3, 256, 256), 512)
