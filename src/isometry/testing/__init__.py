"""Conformance suites, which a third party can run against its own parts."""

from isometry.testing.codec import CodecCase as CodecCase
from isometry.testing.codec import check_codec as check_codec
from isometry.testing.codec import codec_checks as codec_checks
from isometry.testing.encoder import EncoderCase as EncoderCase
from isometry.testing.encoder import check_encoder as check_encoder
from isometry.testing.encoder import encoder_checks as encoder_checks
from isometry.testing.index import IndexCase as IndexCase
from isometry.testing.index import check_index as check_index
from isometry.testing.index import index_checks as index_checks
from isometry.testing.transform import TransformCase as TransformCase
from isometry.testing.transform import check_transform as check_transform
from isometry.testing.transform import transform_checks as transform_checks
