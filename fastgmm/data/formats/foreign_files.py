"""What files are that hold no rows that can be read here, though their names may say so."""

from __future__ import annotations

import re
from collections.abc import Iterable

_READ_IN_PANDAS = "read it with pandas and give the data frame"

_FOREIGN = (
    (
        r"\s*<(!doctype html|html|head|body)\b",
        "an HTML page, not the data: it may be an error message in place of a download",
    ),
    (r"\s*<\?xml\b", f"XML: {_READ_IN_PANDAS}, pandas.read_xml"),
    (r"%PDF-", "a PDF document: export the table in it as CSV"),
    (r"SIMPLE  =", "a FITS file: read it with astropy.table.Table.read and give to_pandas() of it"),
    (r"\xd0\xcf\x11\xe0", f"an old Excel workbook: {_READ_IN_PANDAS}, pandas.read_excel"),
    (
        r"\x80[\x02-\x05][\x95}c(\]]",
        "a pickle, which can run programs when it is read: load it yourself and give what it holds",
    ),
    (r"version https://git-lfs", "a pointer of Git LFS, not the data: fetch these by git lfs pull"),
    (
        r"(RDX[23]|RDA[23]|RDB[23])\n|[XAB]\n\0\0\0[\2\3]",
        "a file of R's: write CSV there",
    ),
    (r"SQLite format 3\0", f"an SQLite database: {_READ_IN_PANDAS}, pandas.read_sql"),
    (r"MATLAB 5\.0", "a file of MATLAB's: read it with scipy.io.loadmat and give the array"),
    (r"ORC", f"an ORC file: {_READ_IN_PANDAS}, pandas.read_orc"),
    (r"Obj\x01", "an Avro file: write it as Parquet"),
    (r"<stata_dta>", f"a file of Stata's: {_READ_IN_PANDAS}, pandas.read_stata"),
    (r"\$FL[23]", f"a file of SPSS's: {_READ_IN_PANDAS}, pandas.read_spss"),
    (r"CDF[\x01\x02\x05]", "a NetCDF file: read it with xarray and give the array"),
    (r"7z\xbc\xaf|Rar!", "an archive: extract it first"),
    (r"[\s\S]{257}ustar", "a tar archive: extract it first"),
    (
        r"\s*(\{\s*(\"|\})|\[\s*([\[{\"\]]|-?\d+(\.\d+)?([eE][+-]?\d+)?\s*[,\]]))",
        f"JSON: {_READ_IN_PANDAS}, pandas.read_json, lines=True for a row a line",
    ),
)
"""What other files begin with, and what to do with them."""

_FOREIGN_STARTS = tuple(
    (re.compile(start.encode("latin-1"), re.IGNORECASE), said) for start, said in _FOREIGN
)

_OFFICE = {
    "xl/": f"an Excel workbook: {_READ_IN_PANDAS}, pandas.read_excel, or save it as CSV",
    "word/": "a Word document: export the table in it as CSV",
    "content.xml": f"an OpenDocument file: {_READ_IN_PANDAS}, pandas.read_excel, or save it as CSV",
}
"""What zip archives are that hold files of such names."""

_HEAD_BYTES = 2**10


def foreign_kind(head: bytes) -> str | None:
    """Return what begins with some bytes that is no table, and what to do with it."""
    text = head.removeprefix(b"\xef\xbb\xbf")[:_HEAD_BYTES]
    return next((said for start, said in _FOREIGN_STARTS if start.match(text)), None)


def office_kind(members: Iterable[str]) -> str | None:
    """Return the same of a zip archive that holds files of some names."""
    names = list(members)
    return next(
        (said for start, said in _OFFICE.items() if any(name.startswith(start) for name in names)),
        None,
    )
