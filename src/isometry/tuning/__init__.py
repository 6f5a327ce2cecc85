"""Tuning: from a budget to a configuration that was measured to keep it."""

from isometry.tuning.plan import Goal as Goal
from isometry.tuning.plan import Plan as Plan
from isometry.tuning.plan import Trial as Trial
from isometry.tuning.plan import memory_bytes as memory_bytes
from isometry.tuning.report import draw as draw
from isometry.tuning.report import write_html as write_html
from isometry.tuning.tuner import tune as tune
