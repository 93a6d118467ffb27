"""Exact search: of one gallery, across the views of a model, by image and by label of a label embedding."""

from fastcca.retrieval._cross_view import CrossViewSearch
from fastcca.retrieval._index import Found, SearchIndex
from fastcca.retrieval._labels import LabelSearch

__all__ = ["CrossViewSearch", "Found", "LabelSearch", "SearchIndex"]
