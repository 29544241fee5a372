"""What the benchmark of decoding compares is the same function: equal logits and equal greedy tokens."""

import pytest
import torch

from benchmarks import decode
from engines.next_token.model import BOS


@pytest.mark.parametrize("size", list(decode.SIZES))
def test_ours_and_theirs_are_one_function(size):
    network = decode.ours(*decode.SIZES[size][:4])
    model = decode.theirs(network)
    tokens = torch.tensor([[BOS, 5, 9, 200, 31, 7]])
    with torch.inference_mode():
        assert torch.allclose(network(tokens), model(tokens).logits, atol=1e-4)
    assert decode.decoder(network)() == decode.generator(model)()


def test_another_gain_would_be_noticed():
    network = decode.ours(*decode.SIZES["0.4 M"][:4])
    model = decode.theirs(network)
    network.norm[3] += 0.5
    tokens = torch.tensor([[BOS, 5, 9]])
    with torch.inference_mode():
        assert not torch.allclose(network(tokens), model(tokens).logits, atol=1e-4)
