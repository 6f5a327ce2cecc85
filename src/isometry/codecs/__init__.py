"""Codecs: vectors in, bytes out, scored without decoding. A new codec is a file here, and one import line below."""

from isometry.codecs.base import Codec as Codec
from isometry.codecs.binary import Binary as Binary
from isometry.codecs.float4 import Float4 as Float4
from isometry.codecs.float8 import Float8 as Float8
from isometry.codecs.floats import BFloat16 as BFloat16
from isometry.codecs.floats import Float16 as Float16
from isometry.codecs.floats import Float32 as Float32
from isometry.codecs.integer import Int as Int
from isometry.codecs.lvq import LVQ as LVQ
from isometry.codecs.product import ProductQuantizer as ProductQuantizer
from isometry.codecs.rabitq import RaBitQ as RaBitQ
from isometry.codecs.recurrent_binary import RecurrentBinary as RecurrentBinary
from isometry.codecs.residual import ResidualQuantizer as ResidualQuantizer
