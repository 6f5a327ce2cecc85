"""Better orders: fusing several ranked lists into one."""

from isometry.rerank.fusion import reciprocal_rank_fusion as reciprocal_rank_fusion
from isometry.rerank.fusion import score_fusion as score_fusion
