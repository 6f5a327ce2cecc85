"""Collections: documents, attributes and vectors in one durable, searchable folder."""

from isometry.collections.collection import Collection
from isometry.collections.explaining import TermMatch, TokenMatch
from isometry.collections.hits import Hit, Hits
from isometry.collections.opening import create, open
from isometry.collections.reports import AddReport, BuildReport, MigrationReport, OptimizeReport, Stats, VerifyReport

__all__ = [
    "AddReport",
    "BuildReport",
    "Collection",
    "Hit",
    "Hits",
    "MigrationReport",
    "OptimizeReport",
    "Stats",
    "TermMatch",
    "TokenMatch",
    "VerifyReport",
    "create",
    "open",
]
