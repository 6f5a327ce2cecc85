"""Codecs: vectors in, bytes out, scored without decoding. A new codec is a file here, and one import line below."""

from isometry.codecs.base import Codec as Codec
from isometry.codecs.lvq import LVQ as LVQ
