"""Members that diverged: they are told, stay so, and leave the others alone."""

import torch
from torch import nn

from imitation.nn.diverged import diverged, mark_diverged
from imitation.nn.relu import ReluNetwork
from imitation.population import Generators


def test_a_member_with_one_number_that_is_not_finite_is_diverged():
    for value in (torch.nan, torch.inf):
        network = ReluNetwork([3, 4, 2], Generators([0, 1, 2]), torch.empty(()))
        assert not diverged(network).any()
        with torch.no_grad():
            network.biases[0][1, 0, 3] = value
        assert diverged(network).tolist() == [False, True, False]


def test_a_marked_member_is_not_brought_back_by_updates_of_the_others():
    network = ReluNetwork([3, 4, 2], Generators([0, 1]), torch.empty(()))
    kept = [value[0].clone() for value in network.parameters()]
    mark_diverged(network, torch.tensor([False, True]))
    assert all(torch.equal(value[0], one) for value, one in zip(network.parameters(), kept, strict=True))
    adam = torch.optim.Adam(network.parameters(), fused=True)
    nn.functional.mse_loss(network(torch.ones(2, 5, 3))[0], torch.zeros(5, 2)).backward()
    adam.step()
    assert diverged(network).tolist() == [False, True]
    assert all(value[1].isnan().all() for value in network.parameters())
