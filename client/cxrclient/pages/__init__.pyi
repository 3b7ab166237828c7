from .film_folder import FilmFolder as FilmFolder
from .notebook import prediction_html as prediction_html
from .on_film import (
    film_heatmap as film_heatmap,
    film_mask as film_mask,
    film_overlay as film_overlay,
    lung_outlines as lung_outlines,
)
from .outlines import polygon_area as polygon_area
from .page import (
    PageFilm as PageFilm,
    check_target as check_target,
    page_html as page_html,
    thumbnail as thumbnail,
    write_page as write_page,
)
from .render import (
    CONTOUR_COLOUR as CONTOUR_COLOUR,
    HEAT_OPACITY as HEAT_OPACITY,
    caption as caption,
    data_uri as data_uri,
    heat_colours as heat_colours,
    lung_mask as lung_mask,
    mask_png as mask_png,
    overlay as overlay,
    png_bytes as png_bytes,
)
from .reporting import (
    NeighbourPictures as NeighbourPictures,
    page_films as page_films,
)
