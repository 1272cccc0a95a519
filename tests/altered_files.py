"""Model files and checkpoints with something in them altered, and their checksums right."""

import copy
from unittest import mock

import numpy as np

from fastgmm.io import model_file as persistence

_JUNK = (None, "x", "", True, -1, 0, 7, 10**9, 10**400, 0.5, -0.5, 1e300, [], [1.0], {}, {"a": 1})


def _places(value, path=()):
    """Yield the paths of all members, members of members, and so on."""
    if path:
        yield path
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, member in items:
        if isinstance(member, dict | list):
            yield from _places(member, (*path, key))
        else:
            yield (*path, key)


def _altered_values(values, random):
    values = copy.deepcopy(values)
    places = list(_places(values))
    *above, last = places[random.integers(len(places))]
    holder = values
    for key in above:
        holder = holder[key]
    if random.random() < 0.2:
        del holder[last]
        return values, f"without {(*above, last)}"
    junk = _JUNK[random.integers(len(_JUNK))]
    holder[last] = copy.deepcopy(junk)
    return values, f"{junk!r:.30} for {(*above, last)}"


_ARRAY_ALTERATIONS = {
    "cut": lambda array: array[:-1],
    "doubled": lambda array: np.concatenate([array, array]),
    "another axis": lambda array: array[None],
    "flat": lambda array: array.ravel()[:1],
    "empty": lambda array: array[:0],
    "transposed": lambda array: array.T,
    "float32": lambda array: array.astype(np.float32),
    "integers": lambda array: array.astype(np.int64),
    "booleans": lambda array: array.astype(bool),
    "zeros": lambda array: np.zeros_like(array),
    "negative": lambda array: -1 - np.abs(array.astype(np.float64)),
    "huge": lambda array: np.full(array.shape, 1e300),
}


def _altered_arrays(arrays, random):
    name = sorted(arrays)[random.integers(len(arrays))]
    what = ["dropped", *_ARRAY_ALTERATIONS][random.integers(len(_ARRAY_ALTERATIONS) + 1)]
    if what == "dropped":
        return {each: arrays[each] for each in arrays if each != name}, f"without {name}"
    changed = _ARRAY_ALTERATIONS[what](np.atleast_1d(arrays[name]))
    return {**arrays, name: changed}, f"{name} {what}"


def alterations(path, count, seed=0):
    """Write one altered version of a file after the other in its place; yield what was altered."""
    random = np.random.default_rng(seed)
    stored = persistence.load(path)
    for _ in range(count):
        values, arrays = stored.values, stored.arrays
        if random.random() < 0.5:
            values, what = _altered_values(values, random)
        else:
            arrays, what = _altered_arrays(arrays, random)
        persistence.save(path, stored.model_class, values, arrays)
        yield what


def _with_one(value):
    """Return what puts a value in the place of an array's first one."""

    def put(array):
        changed = np.array(array, dtype=np.float64)
        changed.flat[0] = value
        return changed

    return put


EVERY_ARRAY_ALTERATION = {
    "negated": lambda array: ~array if array.dtype == bool else -array,
    "scaled": lambda array: 3.0 * array,
    "reversed": lambda array: array[::-1] if array.ndim else array,
    "transposed": lambda array: array.T,
    "truncated": lambda array: array[..., :-1] if array.ndim else array[None],
    "NaN": _with_one(np.nan),
    "infinite": _with_one(np.inf),
    "1e300": _with_one(1e300),
    "all 1e300": lambda array: np.full(array.shape, 1e300),
    "text": lambda array: array.astype("U4"),
    "integers": lambda array: np.rint(array).astype(np.int64),
    "complex": lambda array: array.astype(np.complex128),
    "dropped": None,
}


def array_alterations(path):
    """Write a file with each of its arrays altered in every way; yield the array and the way."""
    stored = persistence.load(path)
    for name, array in stored.arrays.items():
        for way, alter in EVERY_ARRAY_ALTERATION.items():
            arrays = dict(stored.arrays)
            changed = arrays.pop(name) if alter is None else alter(array)
            if alter is not None:
                if changed.dtype == array.dtype and np.array_equal(changed, array):
                    continue
                arrays[name] = changed
            # What no version of save would write.
            with mock.patch.multiple(persistence, _not_numbers=lambda *_: None, _KINDS="biufcU"):
                persistence.save(path, stored.model_class, stored.values, arrays)
            yield name, way


def mangled(path, count, seed=0):
    """Write versions of a file with bytes changed, cut out or put in, and yield where."""
    random = np.random.default_rng(seed)
    content = path.read_bytes()
    for _ in range(count):
        # Half of them where the entries and their headers begin and end.
        marks = [i for i in range(len(content) - 6) if content[i : i + 2] == b"PK"]
        marks += [i for i in range(len(content) - 6) if content[i : i + 6] == b"\x93NUMPY"]
        near = marks[random.integers(len(marks))] + int(random.integers(0, 120))
        at = min(
            near if random.random() < 0.5 else int(random.integers(len(content))), len(content)
        )
        new = random.bytes(int(random.integers(0, 5)))
        cut = int(random.integers(0, 5))
        path.write_bytes(content[:at] + new + content[at + cut :])
        yield f"{new!r} for {cut} bytes at {at}"


def mangled_npy_headers(path, count, seed=0):
    """Write versions of a file with the headers of arrays mangled and checksums right."""
    import io
    import zipfile

    random = np.random.default_rng(seed)
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    names = [name for name in entries if name.endswith(".npy")]
    for _ in range(count):
        name = names[random.integers(len(names))]
        content = bytearray(entries[name])
        for _ in range(random.integers(1, 4)):
            content[random.integers(0, 80)] = b"(){}[]'\"\\,:0-\n <f"[random.integers(16)]
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for each, old in entries.items():
                archive.writestr(each, bytes(content) if each == name else old)
        path.write_bytes(buffer.getvalue())
        yield f"{bytes(content[:80])!r} in {name}"
