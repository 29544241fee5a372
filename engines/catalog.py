"""The catalogue: one explicit table. A new exhibit is one line here, its family's room, its assets and its tests."""

from engines.any_order import exhibits as any_order
from engines.density import exhibits as density
from engines.discrete_diffusion import exhibits as discrete_diffusion
from engines.exhibit import Exhibit
from engines.masked_continuous import exhibits as masked_continuous
from engines.next_scale import exhibits as next_scale
from engines.next_token import exhibits as next_token
from engines.next_x import exhibits as next_x
from engines.raster import exhibits as raster
from engines.recognition import exhibits as recognition
from engines.time_series import exhibits as time_series
from engines.video import exhibits as video

EXHIBITS: dict[str, Exhibit] = {
    e.slug: e
    for e in (
        *any_order.EXHIBITS,
        *next_token.EXHIBITS,
        *discrete_diffusion.EXHIBITS,
        *raster.EXHIBITS,
        *next_scale.EXHIBITS,
        *masked_continuous.EXHIBITS,
        *next_x.EXHIBITS,
        *video.EXHIBITS,
        *recognition.EXHIBITS,
        *density.EXHIBITS,
        *time_series.EXHIBITS,
    )
}
