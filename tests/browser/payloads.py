"""Texts that would do something if the page took them for more than text, and how to put them everywhere."""

from __future__ import annotations

import itertools
from typing import Any

from engines.events import UNITS

# Each would set window.hurt: as template, markup, address, closing tag or handler, or by breaking out of a string.
PAYLOADS = (
    "${window.hurt=1}",
    "`${window.hurt=1}`",
    "{{window.hurt=1}}",
    "{{#with this}}${window.hurt=1}{{/with}}",
    "{{constructor.constructor('window.hurt=1')()}}",
    "<img src=x onerror=window.hurt=1>",
    "<svg onload=window.hurt=1>",
    "<svg><script>window.hurt=1</script></svg>",
    "<script>window.hurt=1</script>",
    "</script><script>window.hurt=1</script>",
    "</style><script>window.hurt=1</script>",
    "</title><script>window.hurt=1</script>",
    "--><script>window.hurt=1</script>",
    "]]><script>window.hurt=1</script>",
    "<iframe srcdoc='<script>parent.hurt=1</script>'></iframe>",
    "<details open ontoggle=window.hurt=1>",
    "<input autofocus onfocus=window.hurt=1>",
    "<video><source onerror=window.hurt=1></video>",
    "<a href=javascript:window.hurt=1>x</a>",
    "<math><mtext><style><img src=x onerror=window.hurt=1></style></mtext></math>",
    "<noscript><p title='</noscript><img src=x onerror=window.hurt=1>'>",
    "\" onmouseover=\"window.hurt=1\" x=\"",
    "' autofocus onfocus='window.hurt=1' x='",
    "javascript:window.hurt=1",
    "\\u003cimg src=x onerror=window.hurt=1\\u003e",
    "&lt;img src=x onerror=window.hurt=1&gt;",
    "\u202ewindow.hurt=1\u202c",
    "'-(window.hurt=1)-'",
    "\";window.hurt=1;//",
    "\u2028window.hurt=1\u2029",
)
ALL = " ".join(PAYLOADS)

# What the page looks things up by; everything else in a trace or in the page's data is text that somebody reads.
KEYS = {
    "kind", "lane", "id", "unit", "state", "mode", "origin", "why", "reason", "dtype", "canvas", "of", "map", "slug",
    "name", "look", "when", "default", "value", "exhibit", "hero", "trace", "codes", "telling", "role", "net", "data",
    "recorded", "interventions", "order", "what", "family", "digest", "settings", "models", "runtime", "threshold",
}
_TURN = itertools.cycle(PAYLOADS)


def poisoned(value: Any, key: str = "") -> Any:
    """The same data with payloads behind each text: all of them, or in a list (of words) one after the other."""
    if key in KEYS and not (key == "unit" and value not in UNITS):
        return value
    if isinstance(value, str):
        return f"{value} {ALL if key else next(_TURN)}"
    if isinstance(value, dict):
        return {k: poisoned(v, k) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [poisoned(v) for v in value]
    return value
