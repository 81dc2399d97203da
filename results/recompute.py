"""Recompute the tables of a suite from its cells, without LaDa: `python results/recompute.py results/quick`.

It reads cells.jsonl, one run a line, and says where tables.json, the numbers behind README.md, says anything else.
"""

import json
import sys
from functools import reduce
from pathlib import Path
from zlib import crc32

import numpy as np
from scipy.stats import t as student

ROLES = {"clients": "client", "LLM": "server"}
page = json.loads(Path(sys.argv[1], "tables.json").read_text(encoding="utf-8"))
cells, families, differing, same = {}, {}, [], []  # cells by track, budget, row, scenario; then by world and seed
for run in map(json.loads, Path(sys.argv[1], "cells.jsonl").read_text(encoding="utf-8").splitlines()):
    if run["digest"] in page["cells"]:  # others are of configurations that are not the suite's any more
        place = cells.setdefault((run["track"], run["budget"], run["row"], run["scenario"]), {})
        place[run["world"] if page["worlds"] else 0, run["seed"]] = run
def parties(run, side):
    return [run] if side == "cell" else [m for m in run["members"].values() if m["role"] == ROLES[side]]
def mean(values):
    return np.mean(known) if (known := [v for v in values if v is not None]) else None
def accuracy(run, side, area):  # of each question; of an area that is a part of them, over all
    if area != "overall":
        return np.array([mean(m["after"].get(area) for m in parties(run, side))], float)
    bits = [np.frombuffer(bytes.fromhex(m["right"]), np.uint8) for m in parties(run, side)]
    return 100 * np.mean(np.unpackbits(bits, axis=1, count=run["questions"]), axis=0)
def tested(value, error, freedom, bound):  # Student's t: mean, low, high, p of no difference, p of the claim
    p = [min(1, 2 * (student.sf(d / error, freedom) if error else d <= 0)) for d in (abs(value), value - bound)]
    return [value, *(value + student.ppf(q, freedom) * error for q in (0.025, 0.975)), *p]
def over(units, bound):  # worlds, or seeds
    error = np.std(units, ddof=1) / len(units) ** 0.5 if len(units) > 1 else None
    return [units[0], *[None] * 4] if error is None else tested(np.mean(units), error, len(units) - 1, bound)
def bootstrap(seeds, start, bound, n=10_000):  # of seeds, all scenarios of one together, and of their questions
    rng, means = np.random.default_rng(start), np.empty((n, len(seeds)))
    drawn = rng.integers(len(seeds), size=means.shape)
    for i, strata in enumerate(seeds):
        distinct = [np.unique(each, return_counts=True) for each in strata]
        draws = [rng.multinomial(k.sum(), k / k.sum(), (drawn == i).sum()) @ v / k.sum() for v, k in distinct]
        means[drawn == i] = sum(draws) / len(strata)
    m, p = means.mean(axis=1), lambda side: min(1, 2 * (side.sum() + 1) / (n + 1))
    sure = [*np.quantile(m, (0.025, 0.975)), min(p(m <= 0), p(m >= 0)), p(m <= bound)]
    return [mean(mean(map(np.mean, strata)) for strata in seeds), *sure]
def mixed(worlds, bound):  # a mean and a random intercept of the world, by restricted maximum likelihood
    n, means = np.array([*map(len, worlds)]), np.array([*map(mean, worlds)])
    if not (inner := sum(np.sum((np.array(w) - mean(w)) ** 2) for w in worlds)) or len(n) < 2:
        return [*over(means, bound), np.std(means, ddof=1), 0] if len(n) > 1 and max(n) > 1 else None
    def fit(share):  # minus twice the log-likelihood where worlds have such a share of the variance, and what follows
        w = n / (1 + (ratio := share / (1 - share)) * n)
        scale = (inner + w @ (means - (m := w @ means / w.sum())) ** 2) / (n.sum() - 1)
        loss = (n.sum() - 1) * np.log(scale) + np.log1p(ratio * n).sum() + np.log(w.sum())
        return loss, m, (scale / w.sum()) ** 0.5, (ratio * scale) ** 0.5, scale**0.5
    low, high = 0, 1 - 1e-9
    for _ in range(5):  # ever closer around the likeliest share
        shares = np.linspace(low, high, 201)
        best = int(np.argmin([fit(share)[0] for share in shares]))
        low, high = shares[max(0, best - 1)], shares[min(200, best + 1)]
    _, m, error, between, within = fit(shares[best])
    return [*tested(m, error, len(n) - 1, bound), between, within]
def estimate(track, rows, scenarios, side, area, bound, budget, name):
    found = [[cells.get((track, budget, row, scenario), {}) for scenario in scenarios] for row in rows]
    blocks = sorted(set.intersection(*(set(each) for row in found for each in row)))
    told = [[[accuracy(each[b], side, area) for each in at] for at in zip(*found)] for b in blocks]
    values = [[reduce(np.subtract, pair) for pair in strata] for strata in told]  # against the other row, if any
    worlds = {w: [mean(map(np.mean, v)) for b, v in zip(blocks, values) if b[0] == w] for w, _ in blocks}
    seeds = [value for world in worlds.values() for value in world]
    if not blocks or np.isnan(seeds).any():
        return None, None
    if len(page["worlds"]) < 2 and area == "overall" and len(blocks) == 1:
        return bootstrap(values, crc32(name.encode()), bound), None
    units = seeds if len(page["worlds"]) < 2 else [*map(mean, worlds.values())]
    return over(units, bound), mixed([*worlds.values()], bound)
def figure(run, side, how, key):
    told = [[reduce(dict.get, part.split("."), m) for part in key.split("-")] for m in parties(run, side)]
    known = [values[0] - sum(values[1:]) for values in told if None not in values]
    return {"mean": np.mean, "least": min, "spread": np.std, "sum": sum}[how](known) if known else None
def compare(at, ours, theirs):
    for mine, said in zip(*(v if isinstance(v, list) else [v] for v in (ours, theirs)), strict=True):
        close = mine is said or (None not in (mine, said) and abs(mine - said) < 2e-6 * max(1, abs(said)))
        (same if close else differing).append(f"{at}: {mine} by the cells, {said} in tables.json")
for e in page["estimates"]:
    sure, model = estimate(*map(e.get, ("track", "rows", "scenarios", "side", "area", "bound", "budget", "name")))
    compare(e["where"], sure, e["is"])
    compare(e["where"], model if "mixed" in e else [], e.get("mixed", []))
    p = sure and sure[4 if "complete" in e else 3]  # of a claim, or of no difference
    if "family" in e and (p is not None or "complete" in e):
        families.setdefault(e["family"], []).append((p if p is not None and e.get("complete", True) else 1, e))
for of in (sorted(each, key=lambda pair: pair[0]) for each in families.values()):
    for (_, e), holm in zip(of, np.maximum.accumulate([min(1, (len(of) - k) * p) for k, (p, _) in enumerate(of)])):
        compare(e["where"], holm, e["adjusted"])
for f in page["figures"]:
    found = [cells[f["track"], 1.0, f["row"], scenario] for scenario in f["scenarios"]]
    blocks = set.intersection(*map(set, found))
    worlds = [{w: [figure(at[b], *f["of"]) for b in blocks if b[0] == w] for w, _ in blocks} for at in found]
    compare(f["where"], mean(mean(map(mean, of.values())) for of in worlds), f["is"])
print(f"{len(same)} of {len(same) + len(differing)} numbers are the same", *differing, sep="\n")
sys.exit(bool(differing))
