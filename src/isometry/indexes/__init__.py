"""Indexes: vectors or texts in, neighbours out. A new index is a file here, and one import line below."""

from isometry.indexes.base import METRICS as METRICS
from isometry.indexes.base import Index as Index
from isometry.indexes.base import Mutable as Mutable
from isometry.indexes.bm25 import BM25 as BM25
from isometry.indexes.choice import default_spec as default_spec
from isometry.indexes.compressed import CompressedFlat as CompressedFlat
from isometry.indexes.filtering import FilterPlan as FilterPlan
from isometry.indexes.filtering import filter_plan as filter_plan
from isometry.indexes.flat import Flat as Flat
from isometry.indexes.inverted import Inverted as Inverted
from isometry.indexes.ivf import IVF as IVF
from isometry.indexes.maxsim import MaxSim as MaxSim
from isometry.indexes.multivector import MultiVector as MultiVector
from isometry.indexes.plaid import Plaid as Plaid
from isometry.indexes.registry import load_index as load_index
from isometry.indexes.seismic import Seismic as Seismic
from isometry.indexes.spec import index_from_spec as index_from_spec
from isometry.indexes.vamana import Vamana as Vamana
