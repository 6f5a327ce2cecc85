"""Transforms: vectors in, other vectors out. A new transform is a file here, and one import line below."""

from isometry.transforms.leanvec import LeanVec as LeanVec
