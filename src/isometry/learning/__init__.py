"""Learning: pairs in, trained codecs and losses for encoders out. It needs torch, the extra ``[learn]``.

The names below are loaded when they are first used, so that asking which there are needs no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from isometry.learning.distillation import DistillVQ as DistillVQ
    from isometry.learning.joint import JPQ as JPQ
    from isometry.learning.losses import info_nce as info_nce
    from isometry.learning.losses import lambda_rank as lambda_rank
    from isometry.learning.losses import list_net as list_net
    from isometry.learning.losses import rank_net as rank_net
    from isometry.learning.negatives import LiveIndex as LiveIndex
    from isometry.learning.negatives import hard_negatives as hard_negatives
    from isometry.learning.recurrent import BEBR as BEBR
    from isometry.learning.text import InfoNCELoss as InfoNCELoss
    from isometry.learning.training import train as train

_HOMES = {
    "BEBR": "recurrent",
    "DistillVQ": "distillation",
    "InfoNCELoss": "text",
    "JPQ": "joint",
    "LiveIndex": "negatives",
    "hard_negatives": "negatives",
    "info_nce": "losses",
    "lambda_rank": "losses",
    "list_net": "losses",
    "rank_net": "losses",
    "train": "training",
}
__all__ = [
    "BEBR",
    "JPQ",
    "DistillVQ",
    "InfoNCELoss",
    "LiveIndex",
    "hard_negatives",
    "info_nce",
    "lambda_rank",
    "list_net",
    "rank_net",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        import torch  # noqa: F401
    except ImportError:
        from isometry.errors import MissingExtra

        raise MissingExtra("learn", f"isometry.learning.{name}", "torch") from None
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
