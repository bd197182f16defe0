"""What a report costs: time, memory, size, and the wait until a browser shows it.

    python benchmarks/report.py [--items 10000]

A JSON line a figure, then a table. The runs are real (the synthetic suite; random answers, so that
no model's time is in it), the report is made by its command, and `spin` is the time of a fixed
pure-Python loop in the same run, so that other machines and days compare. The browser is headless
Chromium on the folder as it lies on disk, where there are Playwright and Chromium.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from figures import show, spin
from overhead import FAMILIES, ROOT, child, figure, synthetic

_PEAK = (
    "import resource,runpy,sys\n"
    "sys.argv=sys.argv[1:]\n"
    "try: runpy.run_module('lalm_bench.report',run_name='__main__',alter_sys=True)\n"
    "finally:\n"
    "    used=resource.getrusage(resource.RUSAGE_SELF)\n"
    "    print('PEAK',used.ru_maxrss,used.ru_utime+used.ru_stime,file=sys.stderr)"
)


def report(folder: Path, *words: str) -> tuple[float, float, float]:
    """Make a report; (wall seconds, CPU seconds, peak resident MB) of the whole process."""
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", _PEAK, "report", *words, "--out", str(folder)],
        env=env,
        capture_output=True,
        text=True,
    )
    wall = time.perf_counter() - began
    peak = next((x.split() for x in done.stderr.splitlines() if x.startswith("PEAK")), None)
    if done.returncode or peak is None:
        raise SystemExit(done.stderr)
    return wall, float(peak[2]), int(peak[1]) / 1024


def browse(folder: Path) -> list[dict]:
    """Seconds until a sample far down is shown, until a filter and a search have been applied."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return []
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        return []
    count = "() => Number(document.querySelector('#count').textContent.split(' of ')[0])"
    row = json.loads((folder / "data" / "r0.js").read_text()[len('LB.put("r0",') : -3])["n"] - 5
    spent = {}
    with sync_playwright() as playwright:
        flags = [] if os.geteuid() else ["--no-sandbox"]
        chromium = playwright.chromium.launch(executable_path=program, args=flags)
        page = chromium.new_page(viewport={"width": 1280, "height": 860})
        page.goto("about:blank")
        steps = {
            "open": lambda: page.goto(f"{(folder / 'index.html').as_uri()}#samples/r0/{row}"),
            "filter": lambda: page.locator("#outcomes .wrong").click(),
            "search": lambda: page.locator("#search").fill("easy_000042 high beep"),
        }
        for name, act in steps.items():
            before = page.evaluate(count) if name != "open" else None
            began = time.perf_counter()
            act()
            if name == "open":
                page.wait_for_selector("#sample .answer")
                page.wait_for_selector(f"#row-{row}")
            while page.evaluate(count) == before:
                page.wait_for_timeout(5)
            spent[name] = time.perf_counter() - began
        chromium.close()
    return [figure(f"browser_{name}", value, "s", "< 2") for name, value in spent.items()]


def measure(items: int) -> list[dict]:
    """A run, and the same run changed beside its baseline."""
    with tempfile.TemporaryDirectory() as place:
        base = [*synthetic(place, items), "figures=false"]
        child(*base)
        child(*base, "intervention=mask")
        plain, masked = (
            next(Path(place).glob(f"mcq_synthetic/random/{name}/*/run.json")).parent
            for name in ("baseline", "mask*")
        )
        one, both = Path(place, "one"), Path(place, "both")
        wall, cpu, peak = report(one, str(plain))
        wall_both, cpu_both, peak_both = report(both, str(masked))
        size = sum(f.stat().st_size for f in one.rglob("*") if f.is_file())
        count = items // FAMILIES * FAMILIES
        return [
            figure("one_run", wall, "s", "< 30", items=count, cpu_s=round(cpu, 2)),
            figure("one_run_peak", peak, "MB", "< 1024"),
            figure("one_run_size", size / 1e6, "MB", "< 50"),
            figure(
                "with_baseline", wall_both, "s", "< 60", items=2 * count, cpu_s=round(cpu_both, 2)
            ),
            figure("with_baseline_peak", peak_both, "MB", "< 1024"),
            *browse(one),
        ]


def main() -> None:
    """Measure, print one JSON line a figure, then a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=10_003, help="samples of a run")
    chosen = parser.parse_args()
    yardstick = spin()
    rows = measure(chosen.items)
    show(rows, yardstick, digits=2)


if __name__ == "__main__":
    main()
