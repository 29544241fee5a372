"""The catalogue: one explicit table. A new exhibit is one line here, its family's room, its assets and its tests."""

from engines.any_order import exhibits as any_order
from engines.exhibit import Exhibit
from engines.next_token import exhibits as next_token

EXHIBITS: dict[str, Exhibit] = {
    e.slug: e
    for e in (
        *any_order.EXHIBITS,
        *next_token.EXHIBITS,
    )
}
