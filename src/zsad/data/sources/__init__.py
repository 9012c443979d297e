"""How the samples of a raw download are found: by folder templates, or by the download's own tables."""

from zsad.data.image_files import IMAGE_SUFFIXES, natural_key
from zsad.data.sources.folders import Folders, LabelRule
from zsad.data.sources.record import Record, Source
from zsad.data.sources.tables import CategoryTables, NumberedTable, VisaTable
from zsad.data.sources.tree import Listing, Tree, split_suffix, template_pattern

__all__ = [
    "IMAGE_SUFFIXES",
    "CategoryTables",
    "Folders",
    "LabelRule",
    "Listing",
    "NumberedTable",
    "Record",
    "Source",
    "Tree",
    "VisaTable",
    "natural_key",
    "split_suffix",
    "template_pattern",
]
