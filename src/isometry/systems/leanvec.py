"""LeanVec: graph search over projected, quantised vectors."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isometry.systems.base import Paper, Progress, System

if TYPE_CHECKING:
    from isometry.evaluation import Figure, Outcome, Plot
    from isometry.evaluation.corpora import VectorSet
    from isometry.evaluation.result import Verdict

TARGETS = (0.90, 0.95, 0.99)
DEPTHS = (10, 50, 100)
LARGE = 512
SATURATED = 0.995
WIDE, MANY = 768, 200_000
BATCH = 1_000
FLOAT, HALF = "Vamana{degree}", "Float16,Vamana{degree}"
PLAIN = (FLOAT, HALF, "LVQ8,Vamana{degree}", "LVQ4x8,Vamana{degree}")
LEAN = ("LeanVec{d},LVQ4,Vamana{degree} -> LVQ8", "LeanVec{d},LVQ8,Vamana{degree} -> LVQ8")
_CACHE_SIZE = Path("/sys/devices/system/cpu/cpu0/cache/index3/size")


@dataclass(frozen=True)
class Scale:
    """How much of the experiments to run: texts, dimensions and sizes."""

    texts: int
    wide_texts: int
    lsa: int
    views: tuple[str, ...]
    synthetic: tuple[int, ...]
    synthetic_n: int
    judged: int
    degree: int
    sizes: tuple[int, ...]
    rounds: int


SCALES = {
    "small": Scale(20_000, 0, 768, ("same", "names"), (256,), 10_000, 500, 32, (2_000, 6_000), 3),
    "full": Scale(
        100_000,
        200_000,
        1024,
        ("same", "names"),
        (256, 1024),
        50_000,
        1_000,
        64,
        (3_000, 10_000, 30_000, 100_000),
        3,
    ),
}


@dataclass
class Entry:
    """One index in the race over one set of queries."""

    method: str
    index: Any
    lean: bool
    efforts: dict[float, int] = field(default_factory=dict)
    speeds: dict[tuple[float, int, int], float] = field(default_factory=dict)
    build_s: float = 0.0
    nbytes: float = 0.0
    peak: float | None = None
    most: float = 0.0


@dataclass
class Race:
    """All indexes over one set, measured."""

    vectors: VectorSet
    entries: list[Entry]
    chosen: int = 0
    """The d that LeanVec chooses itself."""

    def lean_specs(self, degree: int) -> list[str]:
        """Return the lean indexes of this race: with the paper's d, and with the one that LeanVec chooses."""
        specs = [template.format(degree=degree, d=_components(self.vectors.dim)) for template in LEAN]
        return list(dict.fromkeys([*specs, LEAN[-1].format(degree=degree, d=self.chosen)]))

    def best(self, target: float, batch: int = BATCH) -> tuple[Entry, float] | None:
        """Return the faster of the lean ones and how many times faster it is than the graph over float16."""
        half = self[HALF].speeds.get((target, 1, batch))
        lean = [(speed, entry) for entry in self.lean if (speed := entry.speeds.get((target, 1, batch)))]
        if not half or not lean:
            return None
        speed, entry = max(lean, key=lambda pair: pair[0])
        return entry, speed / half

    @property
    def lean(self) -> list[Entry]:
        """The entries with a projection."""
        return [entry for entry in self.entries if entry.lean]

    def __getitem__(self, template: str) -> Entry:
        return next(entry for entry in self.entries if not entry.lean and _is(entry.method, template))


def experiment(*, size: str, data: Path | None, seed: int, progress: Progress | None) -> Outcome:
    """Measure projections, then search, build, accuracy and memory of the same graph over six kinds of vectors."""
    from isometry.evaluation import Figure, Outcome

    scale = SCALES[size]
    tell = progress or (lambda *_: None)
    groups = list(_groups(scale, data, seed, progress))
    figures: list[Figure] = []
    baselines: list[Figure] = []
    losses: dict[str, dict[str, tuple[float, float, float]]] = {}
    for step, vectors in enumerate(each for group in groups for each in group):
        tell(step, None, f"projections of {vectors.name}")
        losses[vectors.name] = _projections(vectors, scale, seed, figures, baselines)
    racing = [group for group in groups if "synthetic" not in group[0].name] or groups[-1:]
    races = [race for group in racing for race in _race(group, scale, seed, tell)]
    for race in races:
        _race_figures(race, figures, baselines)
    wide = next(race for race in reversed(races) if race.vectors.name == racing[-1][0].name)
    crossing = _crossover(wide, scale, tell)
    if (full := wide.best(0.95)) is not None:
        crossing.append((len(wide.vectors), full[1]))
    figures += [
        Figure(
            data=f"{wide.vectors.name}, n={n:,}",
            method="LeanVec over Float16",
            measure="times the QPS at 0.95",
            value=ratio,
            note=f"float16 vectors take {n * wide.vectors.dim * 2 / 2**20:,.0f} MiB",
        )
        for n, ratio in crossing
    ]
    verdict, because = _judge(losses, races, crossing, wide)
    return Outcome(
        verdict=verdict,
        because=because,
        figures=tuple(figures),
        baselines=tuple(baselines),
        plots=tuple(_plots(wide, crossing)),
        settings={
            "degree": scale.degree,
            "window": 128,
            "synthetic": "scales i^-0.5 over all directions, noise of a tenth",
            "targets": list(TARGETS),
            "components": {each.name: _components(each.dim) for group in groups for each in group},
            "chosen components": {race.vectors.name: race.chosen for race in races},
            "queries": scale.judged,
            "last level cache": _CACHE_SIZE.read_text().strip() if _CACHE_SIZE.is_file() else "unknown",
            "efforts": {
                r.vectors.name: {e.method: {str(t): w for t, w in e.efforts.items()} for e in r.entries} for r in races
            },
        },
    )


def _groups(scale: Scale, data: Path | None, seed: int, progress: Progress | None) -> Iterator[list[VectorSet]]:
    """Yield sets that share their vectors and differ in their queries, the widest real ones last."""
    from isometry.evaluation.corpora import load_vectors, short_texts, synthetic_vectors

    for dim in scale.synthetic:
        yield [
            synthetic_vectors(scale.synthetic_n, dim, shift=shift, seed=seed).head(
                scale.synthetic_n, queries=scale.judged
            )
            for shift in (0.0, 0.5, 1.0)
        ]
    if data is not None:
        counts = {"minilm": scale.texts, "lsa": scale.texts, "minilm-layers": scale.wide_texts}
        for space, count in counts.items():
            if not count:
                continue
            texts = short_texts(data, n=count)
            sets = [load_vectors(space, texts, view=view, dim=scale.lsa, progress=progress) for view in scale.views]
            yield [each.head(len(each), queries=scale.judged) for each in sets]


def _components(dim: int) -> int:
    """Return d: a quarter of D from 768 on, as in the paper, and somewhat more below."""
    return dim // 4 if dim >= WIDE else 16 * round(0.42 * dim / 16)


def _chosen(vectors: VectorSet, aware: bool, seed: int) -> int:
    """Return the d that LeanVec takes when it is told none."""
    from isometry.transforms import LeanVec

    d: int = LeanVec(random_state=seed).fit(vectors.x, queries=vectors.training if aware else None).n_components_
    return d


def _projections(
    vectors: VectorSet, scale: Scale, seed: int, figures: list[Figure], baselines: list[Figure]
) -> dict[str, tuple[float, float, float]]:
    """Compare the ways to project: loss on held-out queries, and how many of the true 10 a list of 10 to 100 holds.

    Returns
    -------
    dict of str to (float, float, float)
        By method: loss in training, loss on held-out queries, recall@10 of the best 50.
    """
    from isometry.evaluation import Figure
    from isometry.evaluation.throughput import mean_recall
    from isometry.indexes import Flat
    from isometry.transforms import LeanVec
    from isometry.transforms.leanvec import METHODS

    d, exact = _components(vectors.dim), vectors.exact(10)
    found = {}
    for method in METHODS:
        lean = LeanVec(d, method=method, random_state=seed).fit(vectors.x, queries=vectors.training)
        index = Flat(metric="dot").build(lean.transform(vectors.x))
        ids = index.search(lean.transform_query(vectors.queries), max(DEPTHS))[0]
        recalls = {depth: mean_recall(ids[:, :depth], exact) for depth in DEPTHS}
        held_out = lean.loss(vectors.x, vectors.queries)
        found[method] = (lean.loss_, held_out, recalls[50])
        home = figures if method == "closed_form" else baselines
        name, words = f"{vectors.name}, d={d}", f"projection: {method.replace('_', ' ')}"
        note = f"{lean.loss_:.4f} in training"
        home.append(Figure(data=name, method=words, measure="loss", value=held_out, note=note))
        home += [
            Figure(data=name, method=words, measure=f"recall@10 of {depth}", value=value)
            for depth, value in recalls.items()
        ]
    return found


def _race(group: list[VectorSet], scale: Scale, seed: int, tell: Progress) -> list[Race]:
    """Build every index once over a group's vectors (those that learn from queries, once per kind of query)."""
    base = group[0]
    races = [Race(vectors, []) for vectors in group]
    for template in PLAIN:
        spec = template.format(degree=scale.degree)
        tell(0, None, f"building {spec} over {base.name}")
        shared = _built(spec, base, False)
        for race in races:
            entry = Entry(spec, shared.index, False, build_s=shared.build_s, nbytes=shared.nbytes, peak=shared.peak)
            _tune(entry, race.vectors)
            race.entries.append(entry)
    for race in races:
        aware = race.vectors is not base
        race.chosen = _chosen(race.vectors, aware, seed)
        for spec in race.lean_specs(scale.degree):
            tell(0, None, f"building {spec} over {race.vectors.name}")
            entry = _built(spec, race.vectors, aware)
            entry.lean = True
            _tune(entry, race.vectors)
            race.entries.append(entry)
    for race in races:
        tell(0, None, f"timing {race.vectors.name}")
        _time(race, scale.rounds)
    return races


def _built(spec: str, vectors: VectorSet, aware: bool) -> Entry:
    from isometry.evaluation.memory import PeakMemory
    from isometry.indexes import index_from_spec

    with PeakMemory() as peak:
        start = time.perf_counter()
        index = index_from_spec(spec, metric="dot")
        index = index.build(vectors.x, queries=vectors.training) if aware else index.build(vectors.x)
        seconds = time.perf_counter() - start
    with tempfile.TemporaryDirectory() as folder:
        index.save(f"{folder}/index")
        saved = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
    most = None if peak.nbytes is None else peak.nbytes / len(vectors)
    return Entry(spec, index, False, build_s=seconds, nbytes=saved / len(vectors), peak=most)


def _tune(entry: Entry, vectors: VectorSet) -> None:
    from isometry.evaluation.throughput import least_effort, mean_recall

    q, exact = vectors.queries, vectors.exact(10)

    def search(effort: int) -> Any:
        return entry.index.search(q, 10, effort=effort)[0]

    reached = least_effort(search, exact, TARGETS)
    entry.efforts = {target: found.effort for target, found in reached.items() if found is not None}
    entry.most = mean_recall(search(LARGE), exact)


def _time(race: Race, rounds: int) -> None:
    """Fill in queries per second: 1 and 2 threads, a batch and one query a call, all indexes in turns."""
    from isometry.evaluation.throughput import medians, take_turns

    q = race.vectors.queries[:BATCH]
    for threads, batch in ((1, BATCH), (1, 1), (2, BATCH)):
        for target in TARGETS:
            calls = {
                str(i): _call(entry.index, q, entry.efforts[target], threads, batch)
                for i, entry in enumerate(race.entries)
                if target in entry.efforts
            }
            for i, seconds in medians(take_turns(calls, rounds=rounds)).items() if calls else ():
                race.entries[int(i)].speeds[target, threads, batch] = len(q) / seconds


def _call(index: Any, q: Any, effort: int, threads: int, batch: int) -> Callable[[], None]:
    def run() -> None:
        for start in range(0, len(q), batch):
            index.search(q[start : start + batch], 10, effort=effort, threads=threads)

    return run


def _crossover(wide: Race, scale: Scale, tell: Progress) -> list[tuple[int, float]]:
    """Return how many times faster than the graph over float16 the lean ones are, for growing n."""
    found = []
    for n in (size for size in scale.sizes if size < len(wide.vectors)):
        tell(0, None, f"crossover at n={n:,}")
        race = Race(wide.vectors.head(n), [])
        half, lean = HALF.format(degree=scale.degree), wide.lean_specs(scale.degree)
        for spec in (half, *lean):
            entry = _built(spec, race.vectors, False)
            entry.lean = spec in lean
            _tune(entry, race.vectors)
            race.entries.append(entry)
        _time(race, scale.rounds)
        if (best := race.best(0.95)) is not None:
            found.append((n, best[1]))
    return found


def _race_figures(race: Race, figures: list[Figure], baselines: list[Figure]) -> None:
    from isometry.evaluation import Figure

    data = f"{race.vectors.name}, n={len(race.vectors):,}"
    for entry in race.entries:
        home = figures if entry.lean else baselines
        home.append(Figure(data=data, method=entry.method, measure="build s", value=entry.build_s))
        home.append(Figure(data=data, method=entry.method, measure="bytes per vector", value=entry.nbytes))
        if entry.peak is not None:
            home.append(Figure(data=data, method=entry.method, measure="peak bytes per vector", value=entry.peak))
        home.append(Figure(data=data, method=entry.method, measure=f"recall@10, effort {LARGE}", value=entry.most))
        for (target, threads, batch), speed in entry.speeds.items():
            regime = f"{threads} thread{'s' * (threads > 1)}, batch {batch:,}"
            home.append(
                Figure(data=f"{data}; {regime}", method=entry.method, measure=f"QPS at {target:g}", value=speed)
            )


def _plots(wide: Race, crossing: list[tuple[int, float]]) -> Iterator[Plot]:
    from isometry.evaluation import Plot

    curves = {
        entry.method: [
            [target, speed]
            for (target, threads, batch), speed in entry.speeds.items()
            if (threads, batch) == (1, BATCH)
        ]
        for entry in wide.entries
    }
    yield Plot(
        name="speed",
        title=f"Queries per second at a recall, {wide.vectors.name}, one thread",
        x_label="recall@10",
        y_label="queries per second",
        curves={method: points for method, points in curves.items() if points},
        log_y=True,
    )
    if len(crossing) > 1:
        yield Plot(
            name="crossover",
            title=f"LeanVec against the same graph over float16, {wide.vectors.name}",
            x_label="MiB of the float16 vectors",
            y_label="times the queries per second at .95",
            curves={"LeanVec": [[n * wide.vectors.dim * 2 / 2**20, ratio] for n, ratio in crossing]},
            log_x=True,
        )


def _judge(
    losses: dict[str, dict[str, tuple[float, float, float]]],
    races: list[Race],
    crossing: list[tuple[int, float]],
    wide: Race,
) -> tuple[Verdict, str]:
    """Weigh the five experiments; speed counts where the specification asks for it, at D >= 768."""
    learned = ("eigenvector_search", "frank_wolfe", "closed_form")
    shifted = {name: found for name, found in losses.items() if "queries" in name and "by 0%" not in name}
    better = [found["closed_form"][2] > min(found["pca"][2], SATURATED) for found in shifted.values()]
    tied = [
        abs(found[method][2] - found["pca"][2]) <= 0.005
        for name, found in losses.items()
        if name not in shifted
        for method in learned
    ]
    sane = all(found["frank_wolfe"][0] >= found["closed_form"][0] - 1e-6 for found in losses.values())
    checks: list[bool] = [all(better), all(tied), sane]
    told = [
        f"With queries unlike the data the learned projection keeps more of the true 10 than PCA on {sum(better)} of "
        f"{len(better)} sets, with queries like the data all ways tie within half a point in {sum(tied)} of "
        f"{len(tied)} comparisons, and Frank-Wolfe's loss is {'never' if sane else 'sometimes'} below the closed form's"
    ]
    for race in races:
        parts = []
        for target in TARGETS:
            if (best := race.best(target)) is not None:
                parts.append(f"{best[1]:.2f} at {target:g}")
                if race.vectors.dim >= WIDE and target < 0.99:
                    checks.append(best[1] >= 1.5)
        quick = race[FLOAT].build_s / min(entry.build_s for entry in race.lean)
        most = max(entry.most for entry in race.lean)
        checks += [quick >= 2, most >= 0.99]
        told.append(
            f"on {race.vectors.name} LeanVec answers {', '.join(parts) or 'no recall at'} times as many queries as "
            f"the same graph over float16, is built {quick:.1f} times as fast as over float32 (linked by 8 bits as "
            f"well), and reaches a recall of {most:.3f}"
        )
    if len(crossing) > 1:
        told.append(
            f"on {wide.vectors.name} the gain goes from {crossing[0][1]:.2f} at n={crossing[0][0]:,} to "
            f"{crossing[-1][1]:.2f} at n={crossing[-1][0]:,}"
        )
    large = any(race.vectors.dim >= WIDE and len(race.vectors) >= MANY for race in races)
    if not large:
        told.append(f"the claim is about {WIDE} dimensions or more and {MANY:,} vectors or more, which were not tried")
    verdict: Verdict = "holds" if large and all(checks) else "partly" if any(checks[3:]) else "does not hold"
    return verdict, "; ".join(told) + "."


def _is(method: str, template: str) -> bool:
    head, _, tail = template.partition("{degree}")
    return method.startswith(head) and method.endswith(tail) and method.removeprefix(head).isdigit()


SYSTEM = System(
    name="leanvec",
    title="LeanVec: graph search over projected, quantised vectors",
    stage="search",
    summary=(
        "Walks the graph on short projected and quantised copies of the vectors and re-ranks with the full ones; the "
        "projection is learned from queries when they differ from the data."
    ),
    paper=Paper(
        title="LeanVec: Searching vectors faster by making them fit",
        authors="Tepper, Bhati, Aguerrebere, Hildebrand, Willke",
        year=2024,
        arxiv="2312.16335",
        venue="TMLR",
    ),
    rooms=("transforms", "codecs", "indexes"),
    parts=("isometry.transforms.LeanVec", "isometry.codecs.LVQ", "isometry.indexes.Vamana"),
    claim=(
        "Up to 3.7 times the search throughput of the state of the art and up to 4.9 times faster index builds, "
        "without losing accuracy after re-ranking."
    ),
    first_look=(
        "The closed-form projection of the sequel paper can only be at least as good as the learned ones, and was "
        "better in a side check (recall@10 .896 against .877 on fully shifted queries); it is the default here. The "
        "official LeanVec does not run on other makers' processors, so it can't be a peer everywhere."
    ),
    pitfalls=(
        (
            "Learn the projection on training queries and judge it on others; with few queries shrink their covariance "
            "towards the data's."
        ),
        "The gain comes from memory traffic: when the vectors fit the cache it vanishes.",
        "A constant vector has step 0 in LVQ; outlier coordinates eat a 4-bit range.",
        "When data drift, the projection grows stale; LVQ only needs its mean.",
    ),
    experiment=experiment,
)
