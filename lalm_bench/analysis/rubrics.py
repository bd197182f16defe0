"""`rubrics clean`: what a model wrote, sifted, in the form that judge=mmar_rubric reads."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from lalm_bench import runs
from lalm_bench.analysis import criteria, rubrics_figure, sifting
from lalm_bench.analysis.findings import Findings
from lalm_bench.analysis.sifting import Rarity, Rules
from lalm_bench.analysis.writing import CRITERIA, STATE
from lalm_bench.compare.loaded import Run, load
from lalm_bench.errors import DataError
from lalm_bench.report import paper
from lalm_bench.store import read_json, write_bytes, write_json

NO_LIST, TOO_FEW = "reply without a list of criteria", "fewer criteria than --least"
# Where the judge's template needs a text and the item has none.
_NO_THINKING = "not given"
_EXAMPLES = 5
ABOUT = (
    "Criteria were dropped in this order: without a scoring point of three words or more; with "
    "scores other than 0 to 1; with a weight not above 0; that state the reference answer word "
    "for word, where the question does not and no other option is named beside it; equal to an "
    "earlier one of the item, word for word; as good as equal (cosine of tf-idf word vectors of "
    "at least {near:g}). Weights of an item sum to 1. **judge=mmar_rubric counts all criteria "
    "alike**: the weights are kept for judges that use them."
)


@dataclass
class Cleaned:
    """What was kept and dropped.

    Parameters
    ----------
    rubrics : dict
        Id -> criteria.
    dropped : list of (id, reason, text)
    written : int
        Criteria in all.
    without : list of (id, reason)
        Items without a rubric.
    """

    rubrics: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    dropped: list[tuple[str, str, str]] = field(default_factory=list)
    written: int = 0
    without: list[tuple[str, str]] = field(default_factory=list)

    @property
    def digest(self) -> str:
        """Sixteen hex digits of all rubrics."""
        content = orjson.dumps(self.rubrics, option=orjson.OPT_SORT_KEYS)
        return hashlib.blake2b(content, digest_size=8).hexdigest()


def clean(
    folder: Path,
    out: Path,
    rules: Rules,
    judged: Sequence[str] = (),
    outputs: Path = Path("outputs"),
    dataset: Path | None = None,
) -> Findings:
    """Sift generated criteria.

    Parameters
    ----------
    folder : Path
        Of `rubrics generate`.
    out : Path
        Where the result will lie.
    rules : Rules
    judged : sequence of str
        Runs to copy with the rubrics in their decisions, so that they can be judged.
    outputs : Path
        Where runs lie.
    dataset : Path, optional
        Questions in MMAR's form, to be copied with these rubrics in place of their own.

    Raises
    ------
    DataError
        Nothing was generated there, no item keeps a rubric, or a run or data set has none of the
        items.
    """
    state = read_json(folder / STATE) if folder.is_dir() else None
    if not isinstance(state, dict) or not (folder / CRITERIA).is_file():
        raise DataError(f"{folder}: nothing was generated there; run rubrics generate first")
    items = list(_generated(folder / CRITERIA))
    cleaned = _sift(items, rules)
    if not cleaned.rubrics:
        reasons = Counter(reason for _, reason in cleaned.without)
        shown = ", ".join(f"{n} x {reason}" for reason, n in reasons.items())
        raise DataError(f"{folder}: no item keeps a rubric ({shown}); see {folder / CRITERIA}")
    found = [load(runs.find(name, outputs, runs.SCORED)) for name in judged]
    copies = {_fingerprint(run, cleaned): run for run in found}
    with_rubric = {name: _having(run, cleaned) for name, run in copies.items()}
    rows = None if dataset is None else _dataset(dataset, cleaned)

    def also(place: Path) -> None:
        lines = [{"id": name, "rubric": rubric} for name, rubric in cleaned.rubrics.items()]
        _lines(place / "rubrics.jsonl", lines)
        for name, run in copies.items():
            _copy(run, cleaned, place / "runs" / name, name)
        if rows is not None:
            _lines(place / "dataset.jsonl", rows)

    counts = Counter(reason for _, reason, _ in cleaned.dropped)
    facts = {
        "generated": {k: state.get(k) for k in ("run", "writer", "wording", "seed", "status")},
        "rules": {"near": rules.near, "least": rules.least, "most": rules.most},
        "items": len(items),
        "with_rubric": len(cleaned.rubrics),
        "written": cleaned.written,
        "kept": sum(map(len, cleaned.rubrics.values())),
        "dropped": {reason: counts.get(reason, 0) for reason in (*sifting.REASONS, TOO_FEW)},
        "digest": cleaned.digest,
        "runs": with_rubric,
    }
    about = [ABOUT.format(near=rules.near)]
    if state.get("status") != "finished":
        about.append("\nNot all items had a reply when this was made.")
    for name, run in copies.items():
        place = out / "runs" / name
        about.append(_how_to_judge(place, run, with_rubric[name]))
    return Findings(
        "rubrics",
        "Generated rubrics",
        "\n".join(about),
        [_summary(items, cleaned, counts), _examples(cleaned), _dropped(cleaned)],
        facts,
        lambda stem: rubrics_figure.draw(stem, counts, cleaned),
        frozenset({"dropped"}),
        also,
        "runs/*/judge",
    )


def _generated(path: Path) -> Iterator[dict[str, Any]]:
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            try:
                row = orjson.loads(line)
                yield {k: row[k] for k in ("id", "question", "others", "answer", "reply")}
            except (orjson.JSONDecodeError, KeyError, TypeError) as error:
                raise DataError(
                    f"{path} line {number}: no item ({error}); run rubrics generate again"
                ) from error


def _sift(items: Sequence[Mapping[str, Any]], rules: Rules) -> Cleaned:
    written = [criteria.read(item["reply"]) for item in items]
    texts = (c.get("scoring_point") for found in written for c in found or ())
    rarity = Rarity.of(text for text in texts if isinstance(text, str))
    cleaned = Cleaned()
    for item, found in zip(items, written, strict=True):
        name = item["id"]
        if found is None:
            cleaned.without.append((name, NO_LIST))
            continue
        cleaned.written += len(found)
        kept, dropped = sifting.sift({**item, "criteria": found}, rules, rarity)
        cleaned.dropped += [(name, reason, text) for reason, text in dropped]
        if len(kept) < rules.least:
            cleaned.without.append((name, TOO_FEW))
            cleaned.dropped += [(name, TOO_FEW, c["scoring_point"]) for c in kept]
        else:
            cleaned.rubrics[name] = kept
    return cleaned


def _fingerprint(run: Run, cleaned: Cleaned) -> str:
    """A name of its own: the answers are the run's, but what they are judged by is not."""
    content = f"{run.fingerprint}:{cleaned.digest}".encode()
    return hashlib.blake2b(content, digest_size=8).hexdigest()


def _having(run: Run, cleaned: Cleaned) -> dict[str, int]:
    """Decisions, and how many of them have a rubric; DataError where none has."""
    names = [str(row["id"]) for row in runs.decisions(run.folder)]
    having = sum(name in cleaned.rubrics for name in names)
    if not having:
        raise DataError(f"{run.folder}: none of its items has a rubric; name a run of these items")
    return {"decisions": len(names), "with_rubric": having}


def _copy(run: Run, cleaned: Cleaned, place: Path, name: str) -> None:
    """The run's decisions and state, with the rubrics; its answers are not asked again."""
    place.mkdir(parents=True)
    rows = []
    for row in runs.decisions(run.folder):
        rubric = cleaned.rubrics.get(str(row["id"]))
        row |= {"rubric": rubric, "has_rubric": rubric is not None}
        row["thinking"] = row.get("thinking") or _NO_THINKING
        rows.append(row)
    _lines(place / "decisions.jsonl", rows)
    copied = {"from": run.fingerprint, "digest": cleaned.digest}
    write_json(place / "run.json", {**run.state, "fingerprint": name, "rubrics": copied})
    for kept in ("metrics.json", "analysis.json"):
        if (content := read_json(run.folder / kept)) is not None:
            write_json(place / kept, content)


def _dataset(path: Path, cleaned: Cleaned) -> list[dict[str, Any]]:
    from lalm_bench.tasks.published_items import read_items

    rows, having = [], 0
    for index, (_, row) in enumerate(read_items(path)):
        rubric = cleaned.rubrics.get(str(row.get("id"))) or cleaned.rubrics.get(f"mmar_{index}")
        row = {k: v for k, v in row.items() if k != "rubric"}
        if rubric is not None:
            having += 1
            row |= {"rubric": rubric, "thinking": row.get("thinking") or _NO_THINKING}
        rows.append(row)
    if not having:
        raise DataError(f"{path}: none of its items has a rubric; name the file of these items")
    return rows


def _lines(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    write_bytes(path, b"".join(orjson.dumps(r, option=orjson.OPT_APPEND_NEWLINE) for r in rows))


def _how_to_judge(place: Path, run: Run, counts: Mapping[str, int]) -> str:
    words = ["python -m lalm_bench stage=judge judge=mmar_rubric", f"'judge.runs=[\"{place}\"]'"]
    if counts["with_rubric"] < counts["decisions"]:
        words.append("+judge.rubric.only.has_rubric=true")
    if "correct[string_match]" not in run.first_row:
        words.append("'~judge.rubric.gate'")
    return (
        f"\n{counts['with_rubric']} of {counts['decisions']} decisions of "
        f"{run.config['task']['name']} · {run.config['model']['name']} ({run.fingerprint}) have a "
        f"rubric. To judge them (and the judge's own settings):\n\n    {' '.join(words)}"
    )


def _summary(
    items: Sequence[Mapping[str, Any]], cleaned: Cleaned, counts: Mapping[str, int]
) -> paper.Table:
    kept = sum(map(len, cleaned.rubrics.values()))
    without = Counter(reason for _, reason in cleaned.without)
    entries = [
        ("items with a reply", len(items)),
        *((f"without a rubric: {reason}", without.get(reason, 0)) for reason in (NO_LIST, TOO_FEW)),
        ("items with a rubric", len(cleaned.rubrics)),
        ("criteria written", cleaned.written),
        *((f"dropped: {r}", counts.get(r, 0)) for r in (*sifting.REASONS, TOO_FEW)),
        ("criteria kept", kept),
    ]
    rows = [[name, str(number)] for name, number in entries]
    return paper.Table("counts", "What was kept", ["", "number"], rows)


def _examples(cleaned: Cleaned) -> paper.Table:
    shown = [*cleaned.rubrics.items()][:_EXAMPLES]
    rows = [
        [name, c["name"], c["scoring_point"], f"{c['weight']:.2f}"]
        for name, kept in shown
        for c in kept
    ]
    columns = ["item", "criterion", "scoring point", "weight"]
    note = f"The first {len(shown)} of {len(cleaned.rubrics)} items; all: rubrics.jsonl."
    return paper.Table("examples", "Rubrics", columns, rows, note)


def _dropped(cleaned: Cleaned) -> paper.Table:
    rows = [[name, reason, text] for name, reason, text in cleaned.dropped]
    return paper.Table("dropped", "Dropped criteria", ["item", "reason", "criterion"], rows)
