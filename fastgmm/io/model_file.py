"""Model files (.fgm): plain arrays and a JSON header in a zip archive, and nothing that can run.

A file is an uncompressed zip archive, readable as an npz. `header.json` says what the file is,
by which version it was written, and which arrays it holds; each array is an npy entry. Reading
never unpickles and never trusts a size: what does not fit together is a `ModelFileError`.
"""

from __future__ import annotations

import ast
import io
import json
import re
import struct
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from fastgmm.io.atomic_file import atomic_file, expanded

if TYPE_CHECKING:
    import numpy.typing as npt

# NumPy is loaded where arrays are: that a file is no model is said before.

FORMAT = "fastgmm model"
SCHEMA_VERSION = 2

_SCHEMA_1_NAMES = {
    "regularisation": "regularization_amounts",
    "constant": "regularization_constant",
}
"""What schema 1 called otherwise, besides its British spelling."""

HEADER = "header.json"
_KINDS = "biuf"  # booleans, integers, floating-point numbers
_LARGEST_HEADER = 2**26
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the same model makes the same bytes


class ModelFileError(ValueError):
    """A file is not a model file, is damaged, or was written by a newer version."""


@dataclass(frozen=True, slots=True, eq=False)
class StoredModel:
    """What a model file holds: entries that JSON knows, and arrays in native byte order."""

    model_class: str
    values: dict[str, Any]
    arrays: dict[str, npt.NDArray[Any]]
    library_version: str


@contextmanager
def fitting_together(path: str, what: str, remedy: str) -> Iterator[None]:
    """Raise `ModelFileError` for whatever is wrong with the contents of a sound file."""
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise ModelFileError(
            f"{path!r} does not hold {what} that fits together ({reason}): {remedy}"
        ) from error


def save(
    path: str | Path,
    model_class: str,
    values: Mapping[str, Any],
    arrays: Mapping[str, npt.NDArray[Any]],
) -> None:
    """Write a model file, whole or not at all."""
    with atomic_file(path) as file:
        write(file, model_class, values, arrays)


def write(
    file: IO[bytes],
    model_class: str,
    values: Mapping[str, Any],
    arrays: Mapping[str, npt.NDArray[Any]],
) -> None:
    """Write the content of a model file."""
    import numpy as np

    from fastgmm import __version__  # looked up only when needed: it reads package metadata

    for name, array in arrays.items():
        if array.dtype.kind not in _KINDS:
            raise TypeError(
                f"cannot save array {name!r} of dtype {array.dtype}: only booleans, integers and "
                "floats can be read back without running code"
            )
        reason = _not_numbers(name, array)
        if reason is not None:
            raise ValueError(f"cannot save a model whose {reason}; fit it again")
    header = {
        "format": FORMAT,
        "schema": SCHEMA_VERSION,
        "fastgmm": __version__,
        "class": model_class,
        "values": dict(values),
        "arrays": {
            name: {"dtype": array.dtype.name, "shape": array.shape}
            for name, array in arrays.items()
        },
    }
    text = json.dumps(header, indent=1, allow_nan=False, default=_plain)
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(zipfile.ZipInfo(HEADER, _EPOCH), text)
        for name, array in arrays.items():
            buffer = io.BytesIO()
            np.lib.format.write_array(buffer, np.asarray(array), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy", _EPOCH), buffer.getbuffer())


def load(path: str | Path, model_class: str | None = None) -> StoredModel:
    """Read a model file."""
    path = expanded(path)
    with path.open("rb") as file:
        if not file.read(4).startswith(b"PK"):
            raise _foreign(path, "it does not begin as one")
        file.seek(0)
        content = file.read()
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            entries = _checked_entries(archive, path, len(content))
            header = _read_header(archive, entries, path)
            _check_header(header, path, model_class)
            values = header["values"]
            arrays = _read_arrays(archive, entries, header["arrays"], path)
            if header["schema"] == 1:
                values, arrays = _respelled(values), _respelled(arrays)
    except ModelFileError:
        raise
    except (
        zipfile.BadZipFile,
        EOFError,
        LookupError,
        NotImplementedError,
        OSError,
        OverflowError,
        RuntimeError,
        ValueError,
        struct.error,
    ) as error:
        raise _damaged(path, str(error) or type(error).__name__) from error
    return StoredModel(header["class"], values, arrays, header["fastgmm"])


def _respelled(value: Any) -> Any:
    """Return values or arrays under the names that schema 2 has for them."""
    if isinstance(value, list):
        return [_respelled(each) for each in value]
    if not isinstance(value, dict):
        return value
    return {
        _SCHEMA_1_NAMES.get(name) or re.sub(r"is(?=ation|er)", "iz", name): _respelled(each)
        for name, each in value.items()
    }


def _checked_entries(archive: zipfile.ZipFile, path: Path, size: int) -> dict[str, zipfile.ZipInfo]:
    """Return the entries by name; none may claim to be larger than the file that holds them."""
    entries = {entry.filename: entry for entry in archive.infolist()}
    if len(entries) != len(archive.infolist()):
        raise _damaged(path, "two entries have the same name")
    if any(
        entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size
        for entry in entries.values()
    ):
        raise _foreign(path, "it is compressed, which model files never are")
    if sum(entry.file_size for entry in entries.values()) > size:
        raise _damaged(path, "its entries claim to be larger than the file")
    return entries


def _read_header(
    archive: zipfile.ZipFile, entries: Mapping[str, zipfile.ZipInfo], path: Path
) -> dict[str, Any]:
    """Return the JSON header."""
    foreign = _foreign(path, f"it has no {HEADER} of one")
    if HEADER not in entries:
        raise foreign
    if entries[HEADER].file_size > _LARGEST_HEADER:
        raise _damaged(path, f"{HEADER} is larger than {_LARGEST_HEADER} bytes")
    header = json.loads(archive.read(HEADER), parse_constant=_no_number)
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise foreign
    return header


def _no_number(text: str) -> float:
    """Refuse what JSON in Python takes for a number, and no other JSON does."""
    raise ValueError(f"{HEADER} holds {text}")


def _check_header(header: Mapping[str, Any], path: Path, model_class: str | None) -> None:
    """Raise unless the header is complete, of a known schema, and of the class wanted."""
    schema, writer = header.get("schema"), header.get("fastgmm")
    if not isinstance(schema, int) or not isinstance(writer, str) or schema < 1:
        raise _damaged(path, f"{HEADER} does not say which version wrote it")
    if schema > SCHEMA_VERSION:
        raise ModelFileError(
            f"{str(path)!r} was written by fastgmm {writer} in schema {schema}, and this version "
            f"reads up to schema {SCHEMA_VERSION}; upgrade fastgmm to read it"
        )
    fields = {"class": str, "values": dict, "arrays": dict}
    for name, kind in fields.items():
        if not isinstance(header.get(name), kind):
            raise _damaged(path, f"{HEADER} has no {name!r}")
    if model_class is not None and header["class"] != model_class:
        raise ModelFileError(
            f"{str(path)!r} holds a {header['class']}, not a {model_class}: give another file, or "
            "read it with fastgmm.load, which knows every model"
        )


def _read_arrays(
    archive: zipfile.ZipFile,
    entries: Mapping[str, zipfile.ZipInfo],
    described: Mapping[str, Any],
    path: Path,
) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays that the header describes."""
    expected = {f"{name}.npy" for name in described} | {HEADER}
    if expected != set(entries):
        names = ", ".join(sorted(expected ^ set(entries)))
        raise _damaged(path, f"header and entries disagree about {names}")
    arrays = {}
    for name, description in described.items():
        array = _read_array(archive.read(f"{name}.npy"), name, path)
        if description != {"dtype": array.dtype.name, "shape": list(array.shape)}:
            raise _damaged(path, f"array {name!r} is not as the header describes it")
        reason = _not_numbers(name, array)
        if reason is not None:
            raise _damaged(path, reason)
        arrays[name] = array
    return arrays


def _read_array(content: bytes, name: str, path: Path) -> npt.NDArray[Any]:
    """Return the array of an npy entry; one of Python objects is refused unread."""
    import numpy as np

    if not content.startswith(b"\x93NUMPY"):
        raise _damaged(path, f"array {name!r} does not begin as an npy entry")
    if content[6:8] != b"\x01\x00":
        raise _damaged(path, f"array {name!r} is of npy version {tuple(content[6:8])}, not (1, 0)")
    (length,) = struct.unpack("<H", content[8:10])
    header, data = content[10 : 10 + length].decode("latin1"), content[10 + length :]
    try:
        kept = ast.literal_eval(header.strip())
        shape, fortran_order, dtype = kept["shape"], kept["fortran_order"], np.dtype(kept["descr"])
        sound = len(kept) == 3 and all(type(each) is int and each >= 0 for each in shape)
    except (LookupError, MemoryError, RecursionError, SyntaxError, TypeError, ValueError) as error:
        raise _damaged(path, f"array {name!r} has no sound header") from error
    if not sound:
        raise _damaged(path, f"array {name!r} has no sound header")
    if dtype.kind not in _KINDS:
        raise ModelFileError(
            f"{str(path)!r} holds array {name!r} of dtype {dtype}, which could run code when read; "
            "it was not written by fastgmm and has not been read"
        )
    # Python's integers: a product of the sizes that a damaged header claims may not fit NumPy's.
    n_items = 1
    for length in shape:
        n_items *= length
    if n_items * dtype.itemsize != len(data):
        raise _damaged(path, f"array {name!r} has {len(data)} bytes for shape {shape}")
    array = np.frombuffer(data, dtype).reshape(shape, order="F" if fortran_order else "C")
    return array.astype(dtype.newbyteorder("="), order="K")


def _not_numbers(name: str, array: npt.NDArray[Any]) -> str | None:
    """Return what is not a number in an array.

    Minus infinity is the logarithm of a weight 0, and the level that rejects no row.
    """
    if array.dtype.kind != "f":
        return None
    import numpy as np

    sound = np.isfinite(array)
    if name.endswith(("log_weights", "reject_below_")):
        sound |= array == -np.inf
    return None if sound.all() else f"array {name!r} holds {array[~sound][0]}"


def _plain(value: object) -> object:
    """Return a NumPy scalar as Python's, for JSON."""
    import numpy as np

    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(
        f"cannot save {value!r}: a model file holds numbers, text, lists and dicts only; keep what "
        "has code of your own with pickle or joblib"
    )


def _foreign(path: Path, reason: str) -> ModelFileError:
    return ModelFileError(
        f"{str(path)!r} is not a fastgmm model: {reason}; give a file that a fitted model was "
        "saved to"
    )


def _damaged(path: Path, why: str) -> ModelFileError:
    return ModelFileError(
        f"{str(path)!r} is damaged or incomplete ({why}); copy it again from where it was written, "
        "or save the model again"
    )
