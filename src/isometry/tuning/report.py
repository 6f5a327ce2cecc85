"""The trade-off as a picture: a page that needs no network, and a PNG."""

from __future__ import annotations

import html
import json
import os
from pathlib import Path
from typing import Any

from isometry.evaluation import Plot
from isometry.evaluation import draw as draw_plot
from isometry.tuning.plan import Plan, Trial

__all__ = ["draw", "write_html"]


def draw(plan: Plan, path: str | os.PathLike[str]) -> Path:
    """Draw recall over bytes per vector, scans and graphs apart, into a ``.png``, ``.svg`` or ``.pdf`` file.

    Raises
    ------
    MissingExtra
        matplotlib is not installed.
    """
    curves: dict[str, list[list[float]]] = {}
    for name, trials in _families(plan.trials).items():
        best, points = 0.0, []
        for trial in sorted(trials, key=lambda each: (each.bytes_per_vector, -each.recall.mean)):
            if trial.recall.mean > best:
                best = trial.recall.mean
                points.append([trial.bytes_per_vector, best])
        curves[name] = points
    if plan.best is not None:
        curves[f"plan: {plan.best.spec}"] = [[plan.best.bytes_per_vector, plan.best.recall.mean]]
    plot = Plot(
        name="tune",
        title=f"{plan.n:,} vectors of {plan.dim} dimensions",
        x_label="bytes per vector",
        y_label="recall@10",
        curves={name: points for name, points in curves.items() if points},
        log_x=True,
    )
    return draw_plot(plot, Path(path))


def write_html(plan: Plan, path: str | os.PathLike[str]) -> Path:
    """Write one page with the table and the picture, which tells what a point is and lets its axes be chosen."""
    heads, rows = plan.table()
    points = [
        {
            "spec": trial.spec,
            "effort": trial.effort,
            "family": "graph" if "Vamana" in trial.spec else "scan",
            "whole": trial.whole,
            "plan": trial == plan.best,
            "near": trial in plan.nearest.values(),
            "recall": trial.recall.mean,
            "low": trial.recall.low,
            "high": trial.recall.high,
            "ndcg": trial.ndcg.mean if trial.ndcg else None,
            "bytes": trial.bytes_per_vector,
            "ms": trial.latency_ms,
            "build": trial.build_s,
        }
        for trial in plan.trials
    ]
    cells = [f"<tr{' class=plan' if row[0] else ''}>{_cells('td', row)}</tr>" for row in rows]
    verdict = plan.verdict[0].upper() + plan.verdict[1:]
    page = _PAGE.format(
        title=html.escape(f"{plan.n:,} vectors of {plan.dim} dimensions, {plan.metric}"),
        verdict=html.escape(f"{verdict}."),
        about=html.escape(_about(plan)),
        data=json.dumps(points, allow_nan=False).replace("<", "\\u003c"),
        goal=json.dumps(plan.goal.bounds, allow_nan=False),
        head=_cells("th", heads),
        rows="\n".join(cells),
        style=_STYLE,
        script=_SCRIPT,
    )
    where = Path(path)
    where.write_text(page, encoding="utf-8")
    return where


def _about(plan: Plan) -> str:
    settings = plan.settings
    return (
        f"{len(plan.trials)} configurations measured in {plan.seconds:,.0f} s with {settings['choosing_queries']} "
        f"queries to choose by and {settings['promising_queries']} others for what to expect. Hollow points were "
        "measured on a sample of the vectors only."
    )


def _families(trials: tuple[Trial, ...]) -> dict[str, list[Trial]]:
    families: dict[str, list[Trial]] = {"scans": [], "graphs": []}
    for trial in trials:
        families["graphs" if "Vamana" in trial.spec else "scans"].append(trial)
    return families


def _cells(tag: str, texts: list[Any]) -> str:
    return "".join(f"<{tag}>{html.escape(str(text))}</{tag}>" for text in texts)


_STYLE = """
:root { color-scheme: light dark; --ink: #222; --soft: #888; --line: #ddd; --scan: #0a6ebd; --graph: #c2570c;
  --plan: #1a7f37; }
@media (prefers-color-scheme: dark) { :root { --ink: #eee; --soft: #999; --line: #444; --scan: #58a6ff;
  --graph: #f0883e; --plan: #3fb950; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); max-width: 960px; margin: 2em auto; padding: 0 1em; }
svg { width: 100%; height: auto; } svg text { fill: var(--ink); font-size: 12px; }
.axis { stroke: var(--line); } .bound { stroke: var(--plan); stroke-dasharray: 5 4; }
.scan { stroke: var(--scan); fill: var(--scan); } .graph { stroke: var(--graph); fill: var(--graph); }
.sample { fill: none; } .front { fill: none; stroke: var(--soft); }
.ring { fill: none; stroke: var(--plan); stroke-width: 2.5; }
table { border-collapse: collapse; width: 100%; font-size: 13px; } td, th { text-align: left; padding: .25em .6em;
  border-bottom: 1px solid var(--line); } tr.plan { font-weight: 600; }
#told { min-height: 3em; color: var(--soft); } label { margin-right: 1.2em; }
"""

_SCRIPT = """
const points = JSON.parse(document.getElementById('data').textContent);
const goal = JSON.parse(document.getElementById('goal').textContent);
const names = {bytes: 'bytes per vector', ms: 'ms per query, one thread', recall: 'recall@10', ndcg: 'nDCG@10',
  build: 'seconds to build'};
const bounds = {bytes: goal.bytes_per_vector, ms: goal.latency_ms, recall: goal.recall};
const logs = {bytes: true, ms: true, build: true};
const more = {recall: true, ndcg: true};
const svg = document.getElementById('picture'), told = document.getElementById('told');
const W = 900, H = 460, L = 64, R = 16, T = 12, B = 44;
const short = x => x >= 1000 ? Math.round(x).toLocaleString('en') : String(+x.toPrecision(3));
function scale(key, from, to) {
  const values = points.map(p => p[key]).concat(bounds[key] ?? []).filter(v => v !== null && (!logs[key] || v > 0));
  const f = logs[key] ? Math.log : (v => v), g = logs[key] ? Math.exp : (v => v);
  let low = Math.min(...values.map(f)), high = Math.max(...values.map(f));
  const pad = (high - low || 1) * 0.05; low -= pad; high += pad;
  const at = v => from + (f(v) - low) / (high - low) * (to - from);
  at.ticks = [0, 1, 2, 3, 4, 5].map(i => g(low + (high - low) * (i + 0.25) / 5.5));
  return at;
}
function better(a, b, x, y) {
  const sx = more[x] ? -1 : 1, sy = more[y] ? -1 : 1;
  const dx = sx * (a[x] - b[x]), dy = sy * (a[y] - b[y]);
  return dx <= 0 && dy <= 0 && (dx < 0 || dy < 0);
}
function render() {
  const x = document.getElementById('x').value, y = document.getElementById('y').value;
  const shown = points.map((p, i) => [p, i]).filter(([p]) => p[x] !== null && p[y] !== null &&
    document.getElementById(p.family).checked && (p.whole || document.getElementById('samples').checked));
  const sx = scale(x, L, W - R), sy = scale(y, H - B, T);
  let out = '';
  for (const v of sx.ticks) out += `<line class="axis" x1="${sx(v)}" x2="${sx(v)}" y1="${T}" y2="${H - B}"/>` +
    `<text x="${sx(v)}" y="${H - B + 18}" text-anchor="middle">${short(v)}</text>`;
  for (const v of sy.ticks) out += `<line class="axis" x1="${L}" x2="${W - R}" y1="${sy(v)}" y2="${sy(v)}"/>` +
    `<text x="${L - 8}" y="${sy(v) + 4}" text-anchor="end">${short(v)}</text>`;
  out += `<text x="${(L + W - R) / 2}" y="${H - 6}" text-anchor="middle">${names[x]}</text>` +
    `<text transform="translate(14 ${(T + H - B) / 2}) rotate(-90)" text-anchor="middle">${names[y]}</text>`;
  if (bounds[x]) out += `<line class="bound" x1="${sx(bounds[x])}" x2="${sx(bounds[x])}" y1="${T}" y2="${H - B}"/>`;
  if (bounds[y]) out += `<line class="bound" x1="${L}" x2="${W - R}" y1="${sy(bounds[y])}" y2="${sy(bounds[y])}"/>`;
  const front = shown.map(([p]) => p).filter(p => !shown.some(([q]) => better(q, p, x, y))).sort((a, b) => a[x] - b[x]);
  out += `<polyline class="front" points="${front.map(p => sx(p[x]) + ',' + sy(p[y])).join(' ')}"/>`;
  for (const [p, i] of shown) {
    if (y === 'recall') out += `<line class="${p.family}" opacity="0.35" x1="${sx(p[x])}" x2="${sx(p[x])}" ` +
      `y1="${sy(p.low)}" y2="${sy(p.high)}"/>`;
    if (p.plan || p.near) out += `<circle class="ring" cx="${sx(p[x])}" cy="${sy(p[y])}" r="9"/>`;
    out += `<circle class="${p.family}${p.whole ? '' : ' sample'}" data-point="${i}" cx="${sx(p[x])}" ` +
      `cy="${sy(p[y])}" r="5" pointer-events="all"/>`;
  }
  svg.innerHTML = out;
}
svg.addEventListener('pointerover', event => {
  const at = event.target.dataset.point;
  if (at === undefined) return;
  const p = points[at];
  told.textContent = `${p.spec}${p.effort ? ', effort ' + p.effort : ''}: recall@10 ${p.recall.toFixed(4)} ` +
    `[${p.low.toFixed(4)}, ${p.high.toFixed(4)}]` + (p.ndcg === null ? '' : `, nDCG@10 ${p.ndcg.toFixed(4)}`) +
    `, ${short(p.bytes)} bytes per vector, ${short(p.ms)} ms, built in ${short(p.build)} s` +
    (p.whole ? '' : ' (on a sample)') + (p.plan ? ' - the plan' : '');
});
for (const input of document.querySelectorAll('select, input')) input.addEventListener('change', render);
render();
"""

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>isometry tune: {title}</title>
<style>{style}</style>
</head>
<body>
<h1>{title}</h1>
<p><strong>{verdict}</strong></p>
<p>
<label>across <select id="x"><option value="bytes">bytes per vector</option><option value="ms">latency</option>
<option value="build">build time</option></select></label>
<label>up <select id="y"><option value="recall">recall@10</option><option value="ndcg">nDCG@10</option>
<option value="ms">latency</option><option value="bytes">bytes per vector</option></select></label>
<label><input type="checkbox" id="scan" checked> scans</label>
<label><input type="checkbox" id="graph" checked> graphs</label>
<label><input type="checkbox" id="samples" checked> measured on a sample</label>
</p>
<svg id="picture" viewBox="0 0 900 460" role="img" aria-label="What each configuration costs and finds"></svg>
<p id="told">Point at a dot to see what it is.</p>
<table>
<thead><tr>{head}</tr></thead>
<tbody>
{rows}
</tbody>
</table>
<p>{about}</p>
<script type="application/json" id="data">{data}</script>
<script type="application/json" id="goal">{goal}</script>
<script>{script}</script>
</body>
</html>
"""
