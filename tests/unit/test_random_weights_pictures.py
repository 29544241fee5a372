"""Picture nets that learned nothing: the judge must find nothing in what they paint, and the claims must fall."""

import pytest
from ruined import ruined

from engines import weights
from engines.masked_continuous import train as masked
from engines.masked_continuous.model import DRAFT, VAE
from engines.masked_continuous.model import NET as MAR
from engines.masked_continuous.model import TWIN as MASKGIT
from engines.masked_continuous.sampler import paint as paint_sets
from engines.next_scale import train as scales
from engines.next_scale.sample import NET as VAR
from engines.next_scale.sample import TOKENIZER
from engines.next_scale.sample import paint as paint_scales
from engines.raster import train as codes
from engines.raster.nar import NET as NAR
from engines.raster.random_order import NET as RANDOM
from engines.raster.raster import NET as RASTER
from engines.runtime import complete

JUDGE = {**dict.fromkeys((RASTER, RANDOM, NAR), codes.judge), VAR: scales.judge,
         **dict.fromkeys((MAR, DRAFT, MASKGIT), masked.judge)}
# Percent of objects that a stored net must get right on 64 captions, less what so few can be off by. The claims ask for
# the whole bar on 1,024.
BAR = {RASTER: 93, RANDOM: 80, NAR: 93, VAR: 93, MAR: 88, MASKGIT: 80, DRAFT: 88}
FEW = 64


@pytest.mark.parametrize("name", list(JUDGE))
def test_a_stored_net_paints_what_is_asked_and_a_ruined_one_does_not(name):
    stored = JUDGE[name](weights.load(name), FEW)
    assert stored["objects"] >= BAR[name], stored
    for how in ("fresh", "shuffled"):
        # A toy that is guessed blindly is right once in 4 shapes, 8 colours and 2 sizes.
        assert JUDGE[name](ruined(name, how), FEW)["objects"] < 10


@pytest.mark.parametrize("name", list(JUDGE))
def test_a_stored_net_says_how_it_was_trained(name):
    training = weights.record(name)["training"]
    assert training["recipe"] == name and training["finished"] is True
    assert {"seed", "steps", "seconds", "loss", "date"} <= set(training) and training["steps"] > 500


def holds(trial):
    *_, last = trial.claim.measure(trial)
    return complete(trial.claim, last)["holds"]


def test_judged_claims_fall_with_ruined_nets(trial):
    few = FEW / 1024
    assert holds(trial("raster", "judge", effort=few, subject={RASTER: ruined(RASTER, "shuffled")})) is False
    diagonal = {NAR: ruined(NAR, "shuffled")}
    assert holds(trial("nar", "judge-non-inferior", effort=few, subject=diagonal)) is False
    var, mar = ruined(VAR, "shuffled"), ruined(MAR, "shuffled")

    def scale_by_scale(captions, seeds, **how):
        return paint_scales(var, weights.load(TOKENIZER), captions, seeds, **how)

    def sets(captions, seeds, rule):
        return weights.load(VAE).decode(paint_sets(mar, captions, seeds, rule))

    assert holds(trial("var", "judge-non-inferior", effort=few, subject=scale_by_scale)) is False
    assert holds(trial("mar", "judge", effort=few, subject=sets)) is False
