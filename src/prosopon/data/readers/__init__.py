"""Readers: from files to examples; `formats` and `roles` hold the formats, `base` what one is."""

from prosopon.data.readers import formats, roles
from prosopon.data.readers.base import READERS, Reader
from prosopon.data.readers.reading import ReadResult, parse_rows, read_examples, read_file
from prosopon.data.readers.rows import Row

__all__ = [
    "READERS",
    "ReadResult",
    "Reader",
    "Row",
    "formats",
    "parse_rows",
    "read_examples",
    "read_file",
    "roles",
]
