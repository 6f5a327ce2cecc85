"""Does `isometry diagnose` tell sets apart: judgements that words decide, that meaning decides, and that need both?

    python benchmarks/diagnose.py --data FOLDER [--sets limit/limit-small med cranfield]

Each set is indexed with the bundled encoder. Kept are how entangled its judgements are, what free vectors of the
encoder's dimension reach, the precision at the number of relevant documents by every way of searching, and the advice.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import isometry as iso
from isometry.encoders import DEFAULT_ENCODER
from isometry.evaluation import Environment, Figure, Outcome, Result, load_judged
from isometry.evaluation.limit import Diagnosis, diagnose

RESULT = Path(__file__).parent / "results" / "diagnose.json"
SETS = ("limit/limit-small", "med", "cranfield")


def diagnosis_of(path: Path) -> tuple[str, Diagnosis]:
    judged = load_judged(path)
    with tempfile.TemporaryDirectory() as folder, iso.create(f"{folder}/c.iso", encoder=DEFAULT_ENCODER) as collection:
        collection.add(judged.corpus)
        return judged.name, diagnose(collection, judged.queries, judged.qrels)


def figures_of(name: str, found: Diagnosis) -> list[Figure]:
    graph = {"density": found.graph.density, "strength": found.graph.strength}
    bound = {"Rprec": found.bound.recall, "lead": found.bound.margin}
    figures = [Figure(data=name, method="judgements", measure=measure, value=value) for measure, value in graph.items()]
    figures += [
        Figure(data=name, method=f"free vectors, d={found.bound.dim}", measure=measure, value=value)
        for measure, value in bound.items()
    ]
    return figures + [
        Figure.of(estimate, data=name, method=mode, measure=measure)
        for mode, measured in found.measured.items()
        for measure, estimate in measured.estimates.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--sets", nargs="+", default=SETS)
    given = parser.parse_args()
    began = time.perf_counter()
    found = dict(diagnosis_of(given.data / name) for name in given.sets)
    told = {name: each.advice[2] for name, each in found.items()}
    outcome = Outcome(
        verdict="holds" if len(set(told.values())) == len(told) else "does not hold",
        because=" ".join(f"{name}: {advice}" for name, advice in told.items()),
        figures=tuple(figure for name, each in found.items() for figure in figures_of(name, each)),
        settings={"encoder": DEFAULT_ENCODER, "advice": {name: list(each.advice) for name, each in found.items()}},
    )
    environment = Environment.capture(
        seed=0, command="python benchmarks/diagnose.py --data FOLDER", wall_s=time.perf_counter() - began
    )
    Result.of(
        outcome,
        name="diagnose",
        title="Diagnosis of three judged sets",
        claim="The advice differs where the cause differs.",
        environment=environment,
    ).save(RESULT)


if __name__ == "__main__":
    main()
