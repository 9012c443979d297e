"""Sources of samples in a raw download: folder templates, or the download's own tables."""

from zsad.data.sources.folders import Folders, LabelRule
from zsad.data.sources.listing import Listing
from zsad.data.sources.record import Record, Source
from zsad.data.sources.tables import CategoryTables, NumberedTable, VisaTable
from zsad.data.sources.tree import Tree, split_suffix, template_pattern

__all__ = [
    "CategoryTables",
    "Folders",
    "LabelRule",
    "Listing",
    "NumberedTable",
    "Record",
    "Source",
    "Tree",
    "VisaTable",
    "split_suffix",
    "template_pattern",
]
