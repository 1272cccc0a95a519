"""The text of a CSV file in UTF-8, cut where rows end, and the lines that rows are on."""

from __future__ import annotations

import codecs
import io
import re
from collections.abc import Iterator
from typing import IO, Any, NamedTuple

import numpy as np

from fastgmm.data.errors import DataError
from fastgmm.data.formats.byte_streams import DAMAGED
from fastgmm.data.options import BLANKS
from fastgmm.extras import import_pyarrow

UTF8 = "utf-8"

_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
"""Byte order marks and what they say; that of UTF-32 begins as one of UTF-16."""

LONGEST_LINE = 2**26

_READ_BYTES = 2**16


class Row(NamedTuple):
    """Where a row is that is more than blanks and comments."""

    start: int  # of its bytes in the text, without the line end
    end: int
    line: int  # the number of its first line


class RowPattern:
    """Tells where rows of a text end: at line ends that are not in quotes."""

    def __init__(self, delimiters: str, comment: str | None) -> None:
        before = re.escape((" \t" if delimiters == BLANKS else delimiters).encode())
        blanks = b" " if delimiters == "\t" else b" \t"
        self._quoted = rb"(?<![^" + before + rb'\r\n])"[^"]*(?:""[^"]*)*"'
        self.has_comments = comment is not None
        self._comment = b"" if comment is None else re.escape(comment.encode()) + rb"[^\r\n]*"
        others = b"|" + self._comment if self._comment else b""
        self._token = re.compile(self._quoted + others + rb"|\r\n|\r|\n")
        self._blank = re.compile(rb"[" + blanks + rb"]*(?:" + self._comment + rb")?")
        self._blank_line = re.compile(rb"^[" + blanks + rb"]+(?=[\r\n]|\Z)", re.MULTILINE)
        self._blanks = [bytes((blank,)) for blank in blanks]

    def rows(self, text: bytes, line: int = 1) -> Iterator[Row]:
        """Yield the rows of a text, without lines that have only blanks or a comment."""
        start, first = 0, line
        for found in self._token.finditer(text):
            if found[0][:1] not in b"\r\n":
                line += count_lines(found[0])
                continue
            line += 1
            if not self._blank.fullmatch(text, start, found.start()):
                yield Row(start, found.start(), first)
            start, first = found.end(), line
        if not self._blank.fullmatch(text, start):
            yield Row(start, len(text), first)

    def without_comments(self, text: bytes) -> bytes:
        """Return a text without its comments."""
        if not self.has_comments:
            return text
        pattern = re.compile(b"(" + self._quoted + b")|" + self._comment)
        return pattern.sub(lambda found: found[1] or b"", text)

    def without_blank_lines(self, text: bytes) -> bytes:
        """Return a text in which lines that only hold blanks are empty."""
        present = [blank for blank in self._blanks if blank in text]
        starts = [end + blank for blank in present for end in (b"\n", b"\r") if end in text]
        if not text.startswith(tuple(present)) and not any(start in text for start in starts):
            return text
        lines = re.sub(rb"(?<=\r)(?!\n)", b"\n", text) if b"\r" in text else text
        return self._blank_line.sub(b"", lines)

    def by_tabs(self, text: bytes) -> bytes:
        """Return a text whose fields are separated by blanks with tabs between them instead."""
        pattern = re.compile(
            b"(" + self._quoted + rb")|^[ \t]+|[ \t]+(?=[\r\n]|\Z)|[ \t]+", re.MULTILINE
        )

        def tab(found: re.Match[bytes]) -> bytes:
            if found[1]:
                return found[1]
            at_start = not found.start() or text[found.start() - 1] in b"\r\n"
            at_end = found.end() == len(text) or text[found.end()] in b"\r\n"
            return b"" if at_start or at_end else b"\t"

        return pattern.sub(tab, text)


def count_lines(text: Any) -> int:
    """Return how many lines end in a text, each by LF, CR or both."""
    values = np.frombuffer(text, np.uint8)
    count = np.count_nonzero(values == ord("\n"))
    returns = values == ord("\r")
    if np.count_nonzero(returns):
        pairs = returns[:-1] & (values[1:] == ord("\n"))
        count += np.count_nonzero(returns) - np.count_nonzero(pairs)
    return int(count)


def encoding_of(head: bytes) -> str:
    """Return the encoding that a byte order mark names, UTF-8 if there is none."""
    return next((name for mark, name in _MARKS.items() if head.startswith(mark)), UTF8)


def decoded(head: bytes, encoding: str) -> bytes:
    """Return the beginning of a text in UTF-8 without a byte order mark."""
    if encoding == UTF8:
        return head.removeprefix(codecs.BOM_UTF8)
    text = codecs.getincrementaldecoder(encoding)().decode(head)
    return text.removeprefix("\ufeff").encode()


def in_utf8(file: IO[bytes], encoding: str) -> IO[bytes]:
    """Return a file of text as one of UTF-8 without a byte order mark."""
    if encoding != UTF8:
        return io.BufferedReader(_Recoded(file, encoding), _READ_BYTES)
    if file.peek(len(codecs.BOM_UTF8)).startswith(codecs.BOM_UTF8):  # type: ignore[attr-defined]
        file.read(len(codecs.BOM_UTF8))
    return file


class _Recoded(io.RawIOBase):
    """Text of any encoding in UTF-8."""

    def __init__(self, file: IO[bytes], encoding: str) -> None:
        super().__init__()
        self._file = file
        self._decoder = codecs.getincrementaldecoder(encoding)()
        self._waiting = b""
        self._ended = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._waiting and not self._ended:
            content = self._file.read1(_READ_BYTES)  # type: ignore[attr-defined]
            self._ended = not content
            text = self._decoder.decode(content, final=self._ended)
            self._waiting = text.removeprefix("\ufeff").encode()
        found, self._waiting = self._waiting[: len(buffer)], self._waiting[len(buffer) :]
        buffer[: len(found)] = found
        return len(found)


def whole_rows(file: IO[bytes], n_bytes: int, pattern: RowPattern) -> Iterator[Any]:
    """Yield a file's text in Arrow buffers that end where rows end.

    Arrow's threads may outlive the interpreter, which ends the process if they hold its memory:
    they are given neither the file nor bytes.
    """
    pyarrow = import_pyarrow("reading CSV")
    rest = b""
    ended: bool | BaseException = False
    while not ended:
        buffer = pyarrow.allocate_buffer(len(rest) + n_bytes)
        view = memoryview(buffer).cast("B")
        view[: len(rest)] = rest
        filled = len(rest)
        while filled < len(view) and not ended:
            try:
                count = file.readinto1(view[filled:])  # type: ignore[attr-defined]
            except (UnicodeError, *DAMAGED) as error:
                ended = error
            else:
                filled += count
                ended = not count
        end = filled if ended is True else end_of_rows(bytes(view[:filled]), pattern)
        rest = bytes(view[end:filled])
        if len(rest) > LONGEST_LINE:
            raise DataError(f"there is a line of more than {LONGEST_LINE} bytes")
        if end:
            yield buffer.slice(0, end)
        if isinstance(ended, BaseException):
            raise ended


def end_of_rows(text: bytes, pattern: RowPattern) -> int:
    """Return where the last whole row ends: behind the last line end that is not in quotes.

    Where a quotation mark belongs to no pair, behind the last line end. The last byte may be the
    first half of a line end.
    """
    returns = b"\r" in text

    def end_before(place: int) -> int:
        end = text.rfind(b"\n", 0, place)
        if returns:
            end = max(end, text.rfind(b"\r", 0, min(place, len(text) - 1)))
        return end + 1

    def n_marks(start: int, end: int) -> int:
        if pattern.has_comments:
            return pattern.without_comments(text[start:end]).count(b'"')
        return text.count(b'"', start, end)

    end = last = end_before(len(text))
    quoted = n_marks(0, end) % 2
    while quoted and end:
        before = end_before(end - 1)
        quoted ^= n_marks(before, end) % 2
        end = before
    return end or last
