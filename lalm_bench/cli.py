"""The Hydra entry point. Only hydra and omegaconf are imported here: `--help` stays instant."""

from __future__ import annotations

import difflib
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lalm_bench import stopping
from lalm_bench.errors import BenchError, ConfigError, Incomplete, Stopped, one_line

FAILED, BAD_INPUT = 1, 2
_CONTINUES = "stopped; the same command continues where it left off\n"
SHOW_EVERYTHING = os.environ.get("HYDRA_FULL_ERROR") == "1"
# What a composed configuration can be used for: a module and its function, called with it.
STAGES = {
    "run": ("lalm_bench.run", "run"),
    "export": ("lalm_bench.export", "export"),
    "study": ("lalm_bench.study", "study"),
    "judge": ("lalm_bench.judges.stage", "judge"),
}


def home(name: str) -> str:
    """Folder `name` (conf, launchers): inside an installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parent
    inside = package / name
    return str(inside if inside.is_dir() else package.parent / name)


OmegaConf.register_new_resolver("lalm_bench.home", home, replace=True)
sys.path.append(home("launchers"))  # Hydra finds launchers in the namespace package hydra_plugins


@hydra.main(version_base="1.3", config_path=home("conf"), config_name="config")
def _run(config: DictConfig) -> str:
    if HydraConfig.get().mode == RunMode.MULTIRUN:
        import_module("lalm_bench.audio").keep_clips()
        return _work(config)
    with _exit_codes():  # before Hydra sees the exception and prints lines of its own
        return _work(config)


def _work(config: DictConfig) -> str:
    """The stage that was asked for; a run's judges speak when it has ended."""
    done = _stage(config.stage)(config)
    if config.stage == "run" and config.judge.name != "none":
        _stage("judge")(config)
    return done


def _stage(name: object) -> Callable[[DictConfig], str]:
    """What does the work; imported only now, so that looking around stays instant."""
    if name not in STAGES:
        close = _nearest(str(name), list(STAGES))
        raise ConfigError(f"stage={name}{close}: there are {', '.join(STAGES)}")
    module, function = STAGES[str(name)]
    stage: Callable[[DictConfig], str] = getattr(import_module(module), function)
    return stage


def main() -> None:
    """Run the command line: 0 done, 1 failed or incomplete, 2 bad input (one line says what).

    A signal that asked it to stop gives 128 and the signal's number, as shells have it.
    """
    with _exit_codes(), stopping.listening(signal.SIGTERM):
        # Hydra would print several lines and exit with 1; with this it lets exceptions through.
        os.environ["HYDRA_FULL_ERROR"] = "1"
        _run()


@contextmanager
def _exit_codes() -> Iterator[None]:
    try:
        yield
    except (BenchError, hydra.errors.HydraException, OmegaConfBaseException) as error:
        if SHOW_EVERYTHING:
            raise
        sys.stderr.write(f"error: {explain(error)}\n")
        sys.exit(BAD_INPUT)
    except Incomplete as error:
        sys.stderr.write(f"incomplete: {error}\n")
        sys.exit(FAILED)
    except BrokenPipeError:
        # Whoever read the output has left (`| head`); what was done is on disk.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(FAILED)
    except KeyboardInterrupt:
        sys.stderr.write(_CONTINUES)
        sys.exit(128 + signal.SIGINT)
    except Stopped as stopped:
        sys.stderr.write(_CONTINUES)
        sys.exit(128 + signal.Signals.__members__.get(stopped.reason, signal.SIGTERM))


def explain(error: BaseException) -> str:
    """One line: what is wrong, where, and how to mend it."""
    causes = list(_chain(error))
    for cause in causes:
        if isinstance(cause, BenchError):
            return one_line(cause)
    text = one_line(error)
    if match := re.search(r"Could not (?:override|append to config|set) '([^']+)'", text):
        return _unknown_key(match.group(1))
    if match := re.search(r"Could not find '([^']+)'", text):
        return _unknown_option(match.group(1))
    deepest = one_line(causes[-1])
    return text if deepest == "None" or deepest in text else f"{text} ({deepest})"


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: list[BaseException] = []
    while error is not None and error not in seen:
        seen.append(error)
        yield error
        error = error.__cause__ or error.__context__


def _unknown_option(option: str) -> str:
    group, _, name = option.rpartition("/")
    folder = Path(home("conf"), group)
    known = sorted(p.stem for p in folder.glob("*.yaml")) if group else []
    if not known:
        return f"no config group '{group or name}'; groups are {', '.join(_groups())}"
    return f"no {group} called '{name}'{_nearest(name, known)}; there are {', '.join(known)}"


def _unknown_key(key: str) -> str:
    leaf = key.rpartition(".")[2]
    words = {
        m.group(1)
        for p in Path(home("conf")).rglob("*.yaml")
        for m in re.finditer(r"^\s*([A-Za-z_]\w*):", p.read_text(encoding="utf-8"), re.M)
    }
    known = sorted(words.union(_groups()))
    return (
        f"'{key}' is no setting of this run{_nearest(leaf, known)}; "
        "see --cfg job for all settings, or add a new one with +" + key
    )


def _groups() -> list[str]:
    return sorted(p.name for p in Path(home("conf")).iterdir() if p.is_dir())


def _nearest(word: str, known: list[str]) -> str:
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    return f" (did you mean '{close[0]}'?)" if close else ""
