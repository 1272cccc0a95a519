"""Fuzzing of model files, checkpoints and data files: ``make fuzz``.

Whole files are altered at random and read in child processes: each is refused by the documented
exception, or gives something sound. Whatever ends otherwise - another exception, a dead process, a
read that takes longer than `SECONDS_A_CASE` or more memory than `MEMORY` - is kept in `CORPUS`,
which ``make test`` reads again.
"""

from __future__ import annotations

import argparse
import faulthandler
import hashlib
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path

import numpy as np

import fastgmm
from fastgmm import CheckpointError, DataError, ModelFileError, open_data
from tests.altered_files import alterations, mangled_npy_headers
from tests.data.test_damage import WRITERS
from tests.estimators.test_altered_files import FITS, MODELS, checkpointed, use
from tests.written_data import all_rows, rows

CORPUS = Path(__file__).parents[1] / "reference" / "fuzz"
SECONDS_A_CASE = 60
MEMORY = 12 << 30
CASES_A_PROCESS = 200

_NUMBERS = [bytes([0]), bytes([255]), b"\x7f", b"\x80", b"\0" * 8, b"\xff" * 8, b"\xff\xff\xff\x7f"]
_WORDS = [b"nan", b"inf", b"1e999", b"-", b",", b";", b'"', b"\n", b"\r", b"\0", b"\xef\xbb\xbf"]


def altered(content: bytes, random: np.random.Generator) -> bytes:
    """Return bytes with one to four parts overwritten, put in, cut out, repeated or cut off."""
    for _ in range(random.integers(1, 5)):
        at = int(random.integers(len(content) + 1))
        length = int(2 ** random.uniform(0, 9))
        pieces = [*_NUMBERS, *_WORDS, random.bytes(min(length, 32))]
        piece = pieces[random.integers(len(pieces))]
        way = random.integers(10)
        if way < 4:
            content = content[:at] + piece + content[at + len(piece) :]
        elif way < 6:
            content = content[:at] + piece + content[at:]
        elif way < 8:
            content = content[:at] + content[at + length :]
        elif way < 9:
            content = content[:at] + content[at : at + length] + content[at:]
        else:
            content = content[:at]
    return content


def write_whole(folder: Path) -> None:
    """Write the files that are altered; the beginning of a name says how a file is read."""
    for name, make in MODELS.items():
        make().save(folder / f"model-{name.replace(' ', '_')}.fgm")
    for name in FITS:
        checkpointed(folder / f"checkpoint-{name}.fgm", name, 2)
    for name, write in WRITERS.items():
        write(folder / f"data-{name}", rows(120))
    (folder / "data-quoted.csv").write_text('"x ""1""",y\n' + '"1.5",2\n,-1e3\n' * 40)
    lines = b"\xef\xbb\xbfa;b;c\r\n" + b"1;2.5;-3e2\r\n" * 60
    (folder / "data-lines.csv").write_bytes(lines)


def read(path: Path) -> bool:
    """Read a file as its name says, and return whether it is refused as it should be."""
    what, kind, *_ = path.name.split("-")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", RuntimeWarning)
        try:
            if what == "model":
                use(fastgmm.load(path))
            elif what == "checkpoint":
                kind = kind.removesuffix(".fgm")
                use(FITS[kind](checkpoint=path, checkpoint_interval=1e9, resume=True).fit(_X))
            else:
                for on_error in ("raise", "skip"):
                    assert all_rows(open_data(path, on_error=on_error, missing="drop")).ndim == 2
        except (ModelFileError, CheckpointError, DataError):
            return True
    return False


_X = np.random.default_rng(0).normal(size=(120, 2)) + 5.0 * (np.arange(120) % 2)[:, None]
"""The rows that the checkpoints are of."""


def alter(path: Path, random: np.random.Generator) -> None:
    """Alter a file: its bytes, or, of our own files, its members or the headers of its arrays."""
    way = random.integers(3) if path.suffix == ".fgm" else 0
    if way == 0:
        path.write_bytes(altered(path.read_bytes(), random))
    else:
        ways = alterations if way == 1 else mangled_npy_headers
        next(ways(path, 1, seed=int(random.integers(1 << 31))))


def keep(path: Path) -> Path:
    """Keep a file in the corpus, under the name of its content."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
    what, kind = path.name.split("-", 1)
    stem, dot, suffixes = kind.partition(".")
    CORPUS.mkdir(exist_ok=True)
    return Path(shutil.copy(path, CORPUS / f"{what}-{stem}-{digest}{dot}{suffixes}"))


def run_cases(whole: Path, seed: int) -> None:
    """Alter and read files, one after the other, each in its place in the folder "case"."""
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    except ImportError:  # not on this platform
        pass
    random = np.random.default_rng(seed)
    files = sorted(each for each in whole.iterdir() if each.is_file())
    for _ in range(CASES_A_PROCESS):
        case = whole / "case" / files[random.integers(len(files))].name
        shutil.copy(whole / case.name, case)
        alter(case, random)
        content = case.read_bytes()  # a checkpoint is written again as it is resumed
        faulthandler.dump_traceback_later(SECONDS_A_CASE, exit=True)
        try:
            refused = read(case)
        except Exception:
            traceback.print_exc()
            case.write_bytes(content)
            print("kept", keep(case), flush=True)
        else:
            print("refused" if refused else "read", flush=True)
        faulthandler.cancel_dump_traceback_later()
        case.unlink()


def main() -> int:
    """Run processes until the time is over; return 1 if anything was found."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--cases", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.cases is not None:
        run_cases(options.cases, options.seed)
        return 0
    counts = dict.fromkeys(("read", "refused", "kept"), 0)
    with tempfile.TemporaryDirectory() as folder:
        whole, seed = Path(folder), options.seed
        (whole / "case").mkdir()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            write_whole(whole)
        end = time.monotonic() + 60.0 * options.minutes
        while time.monotonic() < end:
            command = [sys.executable, "-m", __spec__.name, "--cases", folder, "--seed", str(seed)]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
            for line in done.stdout.splitlines():
                counts[line.split()[0]] += 1
                print(line) if line.startswith("kept") else None
            for left in (whole / "case").iterdir():  # the process died of it
                print(f"kept {keep(left)}: the process ended with {done.returncode}")
                counts["kept"] += 1
                left.unlink()
            seed += 1
    print(", ".join(f"{count} {what}" for what, count in counts.items()))
    return min(counts["kept"], 1)


if __name__ == "__main__":
    sys.exit(main())
