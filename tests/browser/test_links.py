"""Links in the page's own codec, in a real browser: what is written is read again, and nothing makes it throw."""

from __future__ import annotations

import math
from typing import Any
from urllib.parse import urlencode

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engines.catalog import EXHIBITS
from engines.errors import Refused
from tests.fuzz import strategies as fuzz

CASES = 250
# read(link), and then: does writing that and reading it again change it, or refuse anything?
READ = """
async ([base, links]) => {
  const { read, write } = await import(`${base}/unfold/shell/url.js`);
  const data = await (await fetch(`${base}/unfold/page.json`)).json();
  const words = (key) => key;
  return links.map((link) => {
    const first = read(link, data, words);
    const exhibit = data.exhibits.find((e) => e.slug === first.exhibit);
    const again = read(write(first, exhibit), data, words);
    const known = ({ refused, settings, ...rest }) => rest;
    return { first, again, same: JSON.stringify(known(first)) === JSON.stringify(known(again)) };
  });
}
"""
WRITE = """
async ([base, states]) => {
  const { write } = await import(`${base}/unfold/shell/url.js`);
  const data = await (await fetch(`${base}/unfold/page.json`)).json();
  return states.map((s) => write({ at: null, ...s }, data.exhibits.find((e) => e.slug === s.exhibit)));
}
"""


def drawn(strategy: st.SearchStrategy[Any], count: int) -> list[Any]:
    """As many cases as asked for, always the same: the browser takes them in one go."""
    found: list[Any] = []

    @settings(max_examples=count, derandomize=True, deadline=None, database=None,
              suppress_health_check=list(HealthCheck))
    @given(strategy)
    def collect(case: Any) -> None:
        found.append(case)

    collect()
    return found


def usual(slug: str) -> dict[str, Any]:
    """What a link leaves out: the settings of the recorded run."""
    exhibit = EXHIBITS[slug]
    return {s.name: exhibit.recorded.get(s.name, s.default) for s in exhibit.settings}


def whole(request: dict[str, Any]) -> dict[str, Any]:
    """A page's state: all its settings, and changes that name their event by its number."""
    changes = [c | ({"after": max(0, c["after"])} if "after" in c else {}) for c in request["interventions"]]
    return request | {"settings": usual(request["exhibit"]) | request["settings"], "interventions": changes}


def test_a_written_link_means_the_same_when_it_is_read(visit, server):
    states = [whole(r) for r in drawn(fuzz.request(wrong=False), CASES)]
    page = visit()
    found = page.evaluate(READ, [server, page.evaluate(WRITE, [server, states])])
    for state, result in zip(states, found, strict=True):
        read = result["first"]
        assert read["refused"] == [], (state, read)
        exhibit = EXHIBITS[state["exhibit"]]
        meant, got = exhibit.parse(state["settings"]), exhibit.parse(usual(exhibit.slug) | read["settings"])
        assert vars(meant) == vars(got)
        assert (read["seed"] if read["seed"] is not None else exhibit.seed) == state["seed"]
        # a link's lanes are a set in the exhibit's own order or as written; none is lost
        assert set(read["lanes"] or exhibit.default_lanes()) == set(state["lanes"])
        assert read["interventions"] == state["interventions"]


def test_no_link_makes_the_page_throw_and_what_it_takes_can_be_written_again(visit, server):
    text = st.one_of(st.text(max_size=30).filter(lambda t: t.isprintable()), st.sampled_from(fuzz.NASTY[:-1]))
    names = st.sampled_from(["seed", "lanes", "i", "at", "theme", "v", *{s.name for e in EXHIBITS.values()
                                                                        for s in e.settings}])
    change = st.lists(text | st.sampled_from(["f", "r", "*", "3", "fox"]), max_size=6).map(".".join)
    query = st.dictionaries(names | text, text | st.integers().map(str) | change, max_size=6)
    cases = drawn(st.tuples(st.sampled_from([*EXHIBITS, "nothing"]), query), CASES)
    links = [f"?{urlencode({'exhibit': slug} | pairs)}" for slug, pairs in cases]
    page = visit()
    for link, result in zip(links, page.evaluate(READ, [server, links]), strict=True):
        first, again = result["first"], result["again"]
        assert result["same"] and again["refused"] == [], link
        assert all(len(r["field"]) <= 41 and len(r["value"]) <= 41 and r["message"] for r in first["refused"])
        if first["exhibit"] is None:
            continue
        for name, value in first["settings"].items():  # the page's check is the gentler one; the engine's is the last
            assert not (isinstance(value, float) and math.isnan(value))
            try:
                EXHIBITS[first["exhibit"]].parse({name: value})
            except Refused as error:
                assert error.field == name
