"""Indexes: vectors or texts in, neighbours out. A new index is a file here, and one import line below."""

from isometry.indexes.base import METRICS as METRICS
from isometry.indexes.base import Index as Index
from isometry.indexes.base import Mutable as Mutable
from isometry.indexes.flat import Flat as Flat
