"""Near duplicates: ours beside datasketch, on planted copies whose exact Jaccard similarities are computed.

    python benchmarks/near_duplicates.py [--threshold 0.8] [--runs 3] [--no-peer]

Documents: four lines each of FLORES-200 dev and NTREX in Thai, Lao, Burmese, English and Vietnamese, and one copy of
each, by turns with characters replaced, sentences cut or foreign sentences put in, by 0 to 12 %. Truth is exact: the
Jaccard similarity of every pair's sets of character 5-grams, pairs from the threshold on, documents dropped as what
such pairs connect. datasketch (in .venv-peers) has the same 5-grams of the same normalised text, MinHash(128) by
update_batch and MinHashLSH; as it is used, every pair that LSH returns counts, and also with its pairs compared again.
Times are of texts in memory to the last group (datasketch's without normalising), the best of --runs, per second and
per CPU second (both run on one core; machines are shared).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from record import record

from seatools.text.cleaning.minhash import normalise
from seatools.text.cleaning.near_duplicates import NearDuplicates
from seatools.text.cleaning.union_find import UnionFind

REPOSITORY = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("SEA_SHARED") or REPOSITORY.parent / "shared")
PEERS = REPOSITORY / ".venv-peers/bin/python"
FLORES = ("tha_Thai", "lao_Laoo", "mya_Mymr", "eng_Latn", "vie_Latn")
NTREX = ("tha", "lao", "mya", "eng", "vie")
LINES = 4
BINS = (0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.01)

PEER = """
import json, sys, time
from importlib import metadata
import numpy as np
from datasketch import MinHash, MinHashLSH
texts = json.load(open(sys.argv[1]))
threshold, runs = float(sys.argv[2]), int(sys.argv[3])
best = cpu = 1e9
for _ in range(runs):
    began, cpu_began = time.perf_counter(), time.process_time()
    lsh, hashes, pairs = MinHashLSH(threshold=threshold, num_perm=128), [], []
    for number, text in enumerate(texts):
        minhash = MinHash(num_perm=128)
        minhash.update_batch([g.encode("utf-8") for g in {text[i : i + 5] for i in range(max(1, len(text) - 4))}])
        pairs.extend((other, number) for other in lsh.query(minhash))
        lsh.insert(number, minhash)
        hashes.append(minhash)
    best, cpu = min(best, time.perf_counter() - began), min(cpu, time.process_time() - cpu_began)
alike = [pair for pair in pairs if hashes[pair[0]].jaccard(hashes[pair[1]]) >= threshold]
print(json.dumps({"seconds": [best, cpu], "pairs": pairs, "alike": alike, "bands": [lsh.b, lsh.r],
                  "versions": {"datasketch": metadata.version("datasketch")}}))
"""


def originals() -> list[str]:
    texts = []
    files = [SHARED / f"data/flores200/dev/{lang}.txt" for lang in FLORES]
    files += [next((SHARED / "data/ntrex").glob(f"*{lang}*.txt")) for lang in NTREX]
    for file in files:
        lines = file.read_text("utf-8").splitlines()
        texts += [" ".join(lines[i : i + LINES]) for i in range(0, len(lines) - LINES + 1, LINES)]
    return texts


def copied(text: str, other: str, kind: int, share: float, random: np.random.Generator) -> str:
    """`text` with about `share` of its characters changed: replaced, cut out in one piece, or put in from `other`."""
    count = int(len(text) * share)
    if kind == 0:
        letters = list(text)
        for place in random.choice(len(letters), count // 3, replace=False):  # each is in five n-grams
            letters[place] = other[int(random.integers(len(other)))]
        return "".join(letters)
    place = int(random.integers(len(text) - count))
    return text[:place] + (text[place + count :] if kind == 1 else other[:count] + text[place:])


def exact_pairs(texts: list[str], least: float) -> dict[tuple[int, int], float]:
    """(a, b) -> exact Jaccard similarity of every pair a < b from `least` on, by an inverted index."""
    sets = [{text[i : i + 5] for i in range(max(1, len(text) - 4))} for text in map(normalise, texts)]
    number: dict[str, int] = {}
    grams = [np.array([number.setdefault(gram, len(number)) for gram in one], np.int64) for one in sets]
    sizes = np.array([len(one) for one in sets])
    owners = np.repeat(np.arange(len(sets)), sizes)
    order = np.argsort(np.concatenate(grams), kind="stable")
    postings = np.split(owners[order], np.cumsum(np.bincount(np.concatenate(grams)))[:-1])
    found = {}
    for a, own in enumerate(grams):
        shared = np.bincount(np.concatenate([postings[gram] for gram in own]), minlength=len(sets))
        similar = shared / (sizes + sizes[a] - shared)
        found.update({(a, int(b)): float(similar[b]) for b in np.flatnonzero(similar >= least) if a < b})
    return found


def groups(pairs: list[tuple[int, int]], size: int) -> np.ndarray:
    united = UnionFind(size)
    united.union(*np.array(pairs, np.int64).reshape(-1, 2).T)
    return united.all_roots()


def quality(roots: np.ndarray, truth: np.ndarray, planted: dict[tuple[int, int], float]) -> dict[str, object]:
    """Precision and recall of dropped documents; the share of planted pairs in one group by their similarity."""
    number = np.arange(len(roots))
    ours, wanted = roots != number, truth != number
    joined = {}
    for low, high in zip(BINS, BINS[1:], strict=False):
        inside = [pair for pair, value in planted.items() if low <= value < high]
        share = float(np.mean([roots[a] == roots[b] for a, b in inside])) if inside else None
        joined[f"{low:g}-{min(high, 1):g}"] = {"pairs": len(inside), "joined": share}
    return {
        "dropped": int(ours.sum()),
        "precision": float((ours & wanted).sum() / max(ours.sum(), 1)),
        "recall": float((ours & wanted).sum() / max(wanted.sum(), 1)),
        "joined_by_similarity": joined,
    }


def main() -> None:
    """Measure, print, record."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--threshold", type=float, default=0.8)
    parser.add_argument("--runs", type=int, default=3, help="the best counts")
    parser.add_argument("--no-peer", action="store_true", help="leave datasketch out")
    parser.add_argument("--no-record", action="store_true")
    arguments = parser.parse_args()
    threshold = arguments.threshold
    random = np.random.Generator(np.random.PCG64(0))
    texts = originals()
    half = len(texts)
    for i in range(half):
        texts.append(copied(texts[i], texts[(i * 7 + 3) % half], i % 3, (i % 13) / 100, random))
    size_mb = sum(len(text.encode("utf-8")) for text in texts) / 1e6
    pairs = exact_pairs(texts, min(BINS[0], threshold))
    planted = {pair: value for pair, value in pairs.items() if pair[1] == pair[0] + half}
    truth = groups([pair for pair, value in pairs.items() if value >= threshold], len(texts))
    wanted = int((truth != np.arange(len(texts))).sum())
    print(f"{len(texts):,} documents, {size_mb:.1f} MB; {wanted:,} to drop at {threshold}", flush=True)

    seconds = cpu = np.inf
    for _ in range(arguments.runs):
        began, cpu_began = time.perf_counter(), time.process_time()
        near = NearDuplicates(threshold=threshold)
        near.add(texts)
        roots = near.find()
        seconds, cpu = min(seconds, time.perf_counter() - began), min(cpu, time.process_time() - cpu_began)
    results: dict[str, dict[str, Any]] = {
        "sea": {
            "mb_per_second": size_mb / seconds,
            "mb_per_cpu_second": size_mb / cpu,
            "bands": [near.bands, near.rows],
        }
    }
    results["sea"] |= quality(roots, truth, planted)
    versions: dict[str, str] = {}
    if not arguments.no_peer:
        with tempfile.NamedTemporaryFile("w", suffix=".json", encoding="utf-8") as file:
            json.dump([normalise(text) for text in texts], file)
            file.flush()
            command = [str(PEERS), "-c", PEER, file.name, str(threshold), str(arguments.runs)]
            said = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        versions = said["versions"]
        for name, own in (("datasketch", said["pairs"]), ("datasketch, compared again", said["alike"])):
            wall_rate, cpu_rate = (size_mb / seconds for seconds in said["seconds"])
            results[name] = {"mb_per_second": wall_rate, "mb_per_cpu_second": cpu_rate, "bands": said["bands"]}
            results[name] |= quality(groups(own, len(texts)), truth, planted)
    for name, result in results.items():
        print(
            f"{name:<28} {result['mb_per_second']:6.2f} MB/s {result['mb_per_cpu_second']:6.2f} MB/CPU s  "
            f"bands {result['bands']}  dropped {result['dropped']:,}  "
            f"precision {result['precision']:.4f}  recall {result['recall']:.4f}"
        )
        shares = result["joined_by_similarity"].items()
        print(
            "  joined: " + "  ".join(f"{at} {own['joined']:.3f} ({own['pairs']})" for at, own in shares if own["pairs"])
        )
    if "datasketch" in results:
        ratio = results["sea"]["mb_per_cpu_second"] / results["datasketch"]["mb_per_cpu_second"]
        print(f"{ratio:.1f} x datasketch per CPU second")
    if not arguments.no_record:
        about = {
            "documents": len(texts),
            "mb": size_mb,
            "threshold": threshold,
            "to_drop": wanted,
            "runs": arguments.runs,
        }
        load = os.getloadavg()[0]
        record("near_duplicates", {**about, "peers": versions, "results": results, "load": load}, cores=os.cpu_count())


if __name__ == "__main__":
    sys.exit(main())
