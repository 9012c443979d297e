"""Generated inspection world and the datasets made of it."""

from zsad.data.synthetic.captions import Caption, captions
from zsad.data.synthetic.marks import GRADES, Grade
from zsad.data.synthetic.world import (
    CATEGORIES,
    WORLDS,
    ImagePair,
    WildSample,
    random_stream,
    render,
    render_pair,
    wild_pair,
)
from zsad.data.synthetic.writer import write_synthetic

__all__ = [
    "CATEGORIES",
    "GRADES",
    "WORLDS",
    "Caption",
    "Grade",
    "ImagePair",
    "WildSample",
    "captions",
    "random_stream",
    "render",
    "render_pair",
    "wild_pair",
    "write_synthetic",
]
