"""The directives that show the measurements in ``benchmark_results``; nothing is measured here.

``make benchmark-results`` writes the files. A page that shows them says what machine they are of.
"""

import json
from pathlib import Path

from docutils import nodes
from docutils.parsers.rst import Directive, directives
from sphinx.errors import ExtensionError

from fastgmm.bench.grid import short_count
from fastgmm.bench.report import duration

FOLDER = Path(__file__).parent / "benchmark_results"
PEERS = ("scikit-learn", "oneDAL")
_ALL = ("fastgmm", *PEERS)
_SIZE = "rows × features, components"
_FEW = (2, 8, 32, 64)
_TASKS = {
    ("pass", "diag"): ": pass, diagonal",
    ("scoring", "full"): ": scores",
    ("k-means", "diag"): ": k-means",
    ("fit", "full"): ": a whole fit",
}


def load_results(folder=FOLDER):
    """Return the machine and the rows of all files, which must be of one machine."""
    documents = [json.loads(path.read_text("utf-8")) for path in sorted(folder.glob("*.json"))]
    machines = {
        json.dumps({key: each["machine"][key] for key in ("processor", "n_threads", "versions")})
        for each in documents
    }
    if len(machines) != 1:
        raise ExtensionError(
            f"{folder} has results of {len(machines)} machines or sets of versions: run "
            "make benchmark-results"
        )
    rows = [row for each in documents for row in each["rows"]]
    return {**documents[0]["machine"], "created": documents[0]["created"]}, rows


def selected(rows, prefix):
    """Return the rows whose names begin with a text, or ``task/structure`` and a type."""
    return [row for row in rows if f"{row['id']}/".startswith(f"{prefix}/")]


def passes(rows, dtype):
    """Return the passes of full covariances over data of a type, by growing numbers of features."""
    return [
        row
        for row in selected(rows, "pass/full")
        if row["case"]["dtype"] == dtype and row["case"]["overlap"] == "overlapping"
    ]


def _size(case):
    size = f"{short_count(case['n_samples'])} × {case['n_features']}"
    return f"{size}, {case['n_components']}"


def _time(row, name="fastgmm"):
    seconds = row["competitors"].get(name, {}).get("seconds")
    return duration(seconds) if seconds else ""


def _ratio(row, name):
    """Return how many times as long a peer takes; results that differ are not compared."""
    if not _time(row, name):
        return ""
    ratio = row["competitors"][name]["ratio"]
    return f"{ratio:.1f}×" if ratio else "results differ"


def _memory(row, name):
    n_bytes = row["competitors"].get(name, {}).get("memory")
    return "" if n_bytes is None else f"{n_bytes / 1e6:.{int(n_bytes < 10e6)}f} MB"


def _table(titles, rows):
    """Return a table whose columns of figures, all but the first, are aligned to the right."""
    group = nodes.tgroup(cols=len(titles))
    group += [nodes.colspec(colwidth=1) for _ in titles]
    head, body = nodes.thead(), nodes.tbody()
    for part, lines in ((head, [titles]), (body, rows)):
        for line in lines:
            row = nodes.row()
            for number, text in enumerate(line):
                paragraph = nodes.paragraph("", text)
                row += nodes.entry("", paragraph, classes=["figures"] if number else [])
            part += row
    group += [head, body]
    return nodes.table("", group, classes=["benchmark"])


class Benchmarks(Directive):
    """What is built again when the results change."""

    def results(self):
        """Return the machine and the rows."""
        for path in FOLDER.glob("*.json"):
            self.state.document.settings.record_dependencies.add(str(path))
        return load_results()


class BenchmarkTable(Benchmarks):
    """``.. benchmark-table:: float64`` shows passes; ``front`` a few, ``tasks`` what is no pass."""

    required_arguments = 1

    def run(self):
        """Return the table."""
        _, rows = self.results()
        what = self.arguments[0]
        if what == "front":
            few = [row for row in passes(rows, "float64") if row["case"]["n_features"] in _FEW]
            lines = [
                [_size(row["case"]), _time(row), *(_ratio(row, name) for name in PEERS)]
                for row in few
            ]
            return [_table([_SIZE, "fastgmm", *PEERS], lines)]
        shown = passes(rows, what)
        if what == "tasks":
            shown = [
                row
                for task in ("pass/diag", "scoring", "k-means", "fit")
                for row in selected(rows, task)
            ]
        titles = [_SIZE, "fastgmm", "of peak"]
        for name in PEERS:
            titles += [name, "ratio"]
        return [_table([*titles, *(f"memory, {name}" for name in _ALL)], map(_line, shown))]


def _line(row):
    case, share = row["case"], row["share_of_peak"]
    task = _TASKS.get((case["task"], case["structure"]), "")
    return [
        f"{_size(case)}{task}{', float32' if task and case['dtype'] == 'float32' else ''}",
        _time(row),
        f"{share:.0%}" if share else "",
        *(text for name in PEERS for text in (_time(row, name), _ratio(row, name))),
        *(_memory(row, name) for name in _ALL),
    ]


class BenchmarkMachine(Benchmarks):
    """``.. benchmark-machine::`` names the machine and the versions that were measured."""

    option_spec = {"short": directives.flag}  # noqa: RUF012

    def run(self):
        """Return a list of fields, or one sentence."""
        machine, _ = self.results()
        versions = machine["versions"]
        named = ("python", "fastgmm", "numpy", "scikit-learn", "daal", "numba")
        peaks = ", ".join(
            f"{peak['all_threads'] / 1e9:.0f} GFLOP/s in {name}"
            for name, peak in machine["peaks"].items()
        )
        fields = {
            "Processor": f"{machine['processor']}, {machine['n_threads']} threads",
            "Peak": peaks,
            "System": machine["system"],
            "BLAS": ", ".join(machine["blas"]),
            "Versions": ", ".join(f"{name} {versions[name]}" for name in named),
            "Measured on": machine["created"][:10],
        }
        if "short" in self.options:
            text = (
                "A pass of EM, and how many times as long others take: full covariances, float64, "
                f"{fields['Processor']}; scikit-learn {versions['scikit-learn']}, oneDAL "
                f"{versions['daal']}."
            )
            return [nodes.paragraph("", text)]
        found = nodes.field_list()
        for name, text in fields.items():
            body = nodes.field_body("", nodes.paragraph("", text))
            found += nodes.field("", nodes.field_name("", name), body)
        return [found]


def setup(app):
    """Register the directives."""
    app.add_directive("benchmark-table", BenchmarkTable)
    app.add_directive("benchmark-machine", BenchmarkMachine)
    return {"parallel_read_safe": True}
