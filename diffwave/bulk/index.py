"""What a corpus has become: an index over the shards, a manifest of all outputs, tables of scores."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import diffwave
from diffwave.bulk.recorded_settings import settings_digest
from diffwave.bulk.records import Record, add, manifests, read_manifest
from diffwave.bulk.utterances import CorpusJob
from diffwave.files import atomic_path, remove_leftovers, write_text

INDEX, MANIFEST = "corpus.json", "manifest.jsonl"
_MOST_FAILURES = 1000
# What says nothing of how an output came about: two runs give the same lines.
_LASTING = ("audio_filepath", "duration", "speaker", "subset", "sha256", "sample_rate", "id")


def index(output: Path, jobs: Sequence[CorpusJob], settings: dict[str, Any]) -> dict[str, Any]:
    """Write ``corpus.json`` and ``manifest.jsonl`` from the manifests of all shards that are there.

    Shards end in any order, perhaps two at once: whoever writes last has seen all.

    Args:
        output: folder of the corpus.
        jobs: all utterances, whatever their shard.
        settings: of the outputs.
    """
    while True:
        before = _stamp(output)
        digest, records = settings_digest(settings), dict[str, Record]()
        shards = [_shard(path, records, digest) for path in manifests(output)]
        document = _document(jobs, records, settings) | {"shards": shards}
        mine = [records[job.id] for job in jobs if "error" not in records.get(job.id, {"error": ""})]
        write_text(output / MANIFEST, "".join(json.dumps({k: r[k] for k in _LASTING}) + "\n" for r in mine))
        write_text(output / INDEX, json.dumps(document, indent=1, allow_nan=False) + "\n")
        if _stamp(output) == before:
            break
    if document["complete"]:
        # Nobody is writing any more: what killed workers have left can go.
        for folder in {(output / record["audio_filepath"]).parent for record in mine}:
            remove_leftovers(folder)
    return document


def totals(records: Iterable[Record]) -> dict[str, Any]:
    """Counts, hours and speed of some records; what failed has neither length nor speed."""
    rows = list(records)
    done = [row for row in rows if "error" not in row]
    audio, work = sum(row["duration"] for row in done), sum(row["seconds"] for row in done)
    return {
        "done": len(done),
        "failed": len(rows) - len(done),
        "hours": audio / 3600,
        "worker_hours": work / 3600,
        "real_time_factor": work / audio if audio else None,
        "begun_again": sum(row.get("attempts", 1) - 1 for row in done),
    }


def _stamp(output: Path) -> list[tuple[str, int]]:
    return [(path.name, path.stat().st_mtime_ns) for path in manifests(output)]


def _shard(path: Path, records: dict[str, Record], digest: str) -> dict[str, Any]:
    own: dict[str, Record] = {}
    add(own, read_manifest(path), digest)
    add(records, own.values(), digest)
    return {"manifest": path.name, **totals(own.values())}


def _document(jobs: Sequence[CorpusJob], records: dict[str, Record], settings: dict[str, Any]) -> dict[str, Any]:
    mine = [records[job.id] for job in jobs if job.id in records]
    failures = [{key: record[key] for key in ("id", "source", "error")} for record in mine if "error" in record]
    document = {
        "diffwave": diffwave.__version__,
        "utterances": len(jobs),
        **totals(mine),
        "missing": len(jobs) - len(mine),
        "complete": all("error" not in record for record in mine) and len(mine) == len(jobs),
        "settings": settings,
        "settings_digest": settings_digest(settings),
        "failures": failures[:_MOST_FAILURES],
    }
    scored = [record for record in mine if "scores" in record]
    return document | ({"scores": _scores(jobs, scored)} if any(record["scores"] for record in scored) else {})


def _scores(jobs: Sequence[CorpusJob], records: list[Record]) -> dict[str, Any]:
    """Location and interval of every metric, as in the summary of ``diffwave evaluate``."""
    from diffwave.bulk.output_scores import as_outcome, columns
    from diffwave.evaluation.findings import Results, ScoredPair, summarize
    from diffwave.evaluation.metrics import METRICS
    from diffwave.evaluation.pairs import Pair, System

    asked = {name for record in records for name in record["score_metrics"]}
    metrics = sorted(asked, key=[*METRICS, *sorted(asked - METRICS.keys())].index)
    sources = {job.id: job for job in jobs}
    pairs = [Pair("", r["id"], r["speaker"], sources[r["id"]].source, Path(r["audio_filepath"])) for r in records]
    system = System("", Path(), tuple(pairs), (), {})
    rows = [ScoredPair(pair, as_outcome(record)) for pair, record in zip(pairs, records, strict=True)]
    summary = summarize(Results((system,), tuple(columns(tuple(metrics))), {"": rows}))
    ok = sum(record["score_status"] == "ok" for record in records)
    about = {name: {**summary["metrics"][name], **score} for name, score in summary["systems"][0]["scores"].items()}
    return {"rows": len(records), "ok": ok, "intervals": summary["intervals"], "metrics": about}


def write_scores(path: Path, records: Iterable[Record], metrics: tuple[str, ...]) -> None:
    """One line for each output, as ``utterances.csv`` of ``diffwave evaluate``; what has no score is empty."""
    from diffwave.bulk.output_scores import columns

    names = [metric.name for metric in columns(metrics)]
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["utterance", "speaker", "seconds", "status", *names, "error"])
        for record in records:
            if "scores" in record:
                values = [record["scores"].get(name, "") for name in names]
                about = [record["id"], record["speaker"], record["duration"], record["score_status"]]
                writer.writerow([*about, *values, record["score_error"]])
