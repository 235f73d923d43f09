from __future__ import annotations

import subprocess
import sys

import prosopon.data


def test_the_table_of_contents_is_complete():
    assert all(hasattr(prosopon.data, name) for name in prosopon.data.__all__)
    assert len(set(prosopon.data.__all__)) == len(prosopon.data.__all__)


def test_import_is_light():
    """Reading examples must not pay for torch, transformers or datasets."""
    code = (
        "import sys, prosopon.data; "
        "print([m for m in ('torch', 'transformers', 'datasets', 'jinja2') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
