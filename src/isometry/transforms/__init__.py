"""Transforms: vectors in, other vectors out. A new transform is a file here, and one import line below."""

from isometry.transforms.align import Alignment as Alignment
from isometry.transforms.fde import FDE as FDE
from isometry.transforms.leanvec import LeanVec as LeanVec
from isometry.transforms.opq import OPQ as OPQ
from isometry.transforms.pca import PCA as PCA
from isometry.transforms.random_projection import RandomProjection as RandomProjection
from isometry.transforms.rotation import Hadamard as Hadamard
from isometry.transforms.rotation import Rotation as Rotation
from isometry.transforms.whitening import Whitening as Whitening
