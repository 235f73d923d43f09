"""GGUF files: converted once into an ordinary checkpoint, which is kept in a cache and loaded.

The copy lies in ``$PROSOPON_CACHE``, else in the user's cache folder, under the file's hash, the
dtype and the version of transformers.
"""

import json
import os
import shutil
import tempfile
import warnings
from collections.abc import Callable
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from traceback import extract_tb
from typing import Any

from prosopon.errors import ModelError
from prosopon.files import cache_folder, sha256_file, write_json
from prosopon.models.checkpoints import load_config, load_tokenizer, load_weights, one_line_errors

ENDING = ".gguf"
LAYOUT = 1
"""Changes whenever a converted copy of earlier code must not be used again."""

_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+"
_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
SPLITTERS = {
    "llama-bpe": _CONTRACTIONS + r"|\p{N}{1,3}" + _REST,
    "qwen2": _CONTRACTIONS + r"|\p{N}" + _REST,
}
"""Regular expressions of llama.cpp's named splitters of text that have one."""

_ENDS = tuple(f"tokenizer.ggml.{kind}_token_id" for kind in ("eos", "eot", "eom"))
"""Where a file says what ends a text, a turn, a message."""
_SPLITTER = "tokenizer.ggml.pre"
_WANTED = ("split.count", _SPLITTER, *_ENDS)


def gguf_file(path: Path) -> Path | None:
    """Return the GGUF file that a path means: itself, or the one of a folder without config."""
    if path.is_file() and path.suffix.lower() == ENDING:
        return path
    if not path.is_dir() or (path / "config.json").exists():
        return None
    files = sorted(entry for entry in path.iterdir() if entry.suffix.lower() == ENDING)
    if len(files) > 1:
        names = ", ".join(file.name for file in files)
        raise ModelError(
            f"cannot load model {str(path)!r}: the folder holds several GGUF files, name one of "
            f"them: {names}"
        )
    return files[0] if files else None


def convert_gguf(
    name: str, file: Path, dtype: str = "auto", say: Callable[[str], None] | None = None
) -> Path:
    """Return the checkpoint folder of a GGUF file, converted where the cache does not hold it.

    The dtype ``auto`` is float32; ``say`` is called with one line before a conversion.

    Raises:
        ModelError: A package that reads such files is missing, the file is damaged, cut off or
            one of several parts, or transformers cannot read its architecture; one line.
    """
    dtype = "float32" if dtype == "auto" else dtype
    key = f"{file.stem}-{sha256_file(file)[:16]}-{dtype}-{version('transformers')}-{LAYOUT}"
    folder = cache_folder() / "gguf" / key
    if (folder / "config.json").is_file():
        return folder
    if absent := [package for package in ("gguf", "accelerate") if find_spec(package) is None]:
        raise ModelError(
            f"cannot load model {name!r}: GGUF files need {' and '.join(absent)}: "
            "pip install 'prosopon[gguf]'"
        )
    header = _read_header(name, file)
    if say is not None:
        say(f"converting {file.name} once; the copy is kept in {folder}")
    with one_line_errors(name, str(file.parent), "its converted copy"):
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{key}."))
    try:
        _convert(name, file, dtype, header, temporary)
        _move(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def _read_header(name: str, file: Path) -> dict[str, Any]:
    """Return what a file says of its tokenizer: those of `_WANTED` that there are."""
    with one_line_errors(name, str(file.parent), "the GGUF file (damaged or cut off?)"):
        with file.open("rb") as stream:
            if stream.read(4) != b"GGUF":
                raise ValueError("it does not begin as a GGUF file does")
        from gguf import GGUFReader

        try:
            reader = GGUFReader(file)
        except (IndexError, ValueError) as problem:
            if (extract_tb(problem.__traceback__)[-1].line or "").startswith("raise"):
                raise  # the reader says why; else it stumbled over the end
            raise ValueError(
                f"it ends after {file.stat().st_size:,} bytes, before all that it announces is "
                "there; get the file again"
            ) from problem
        fields = {key: field.contents() for key in _WANTED if (field := reader.get_field(key))}
    if fields.get("split.count", 1) > 1:
        raise ModelError(
            f"cannot load model {name!r}: the file is one of {fields['split.count']} parts; join "
            "them with llama.cpp's llama-gguf-split --merge"
        )
    return fields


def _convert(name: str, file: Path, dtype: str, header: dict[str, Any], folder: Path) -> None:
    source, keywords = str(file.parent), {"gguf_file": file.name}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the libraries' own: read-only arrays, deprecations
        config = load_config(name, source, **keywords)
        tokenizer = load_tokenizer(name, source, **keywords)
        _set_splitter(tokenizer, header.get(_SPLITTER, ""))
        model = load_weights(name, source, config, dtype=dtype, **keywords, **_dequantise())
    model.hf_quantizer = None  # its weights are plain numbers now
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    ends = list(dict.fromkeys(header[key] for key in _ENDS if key in header))
    if ends:
        model.generation_config.eos_token_id = ends if len(ends) > 1 else ends[0]
    with one_line_errors(name, source, "its converted copy"):
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        _drop_tokens(folder, model.get_input_embeddings().weight.shape[0])
        write_json(folder / "source.json", {"file": file.name, "dtype": dtype})


def _drop_tokens(folder: Path, rows: int) -> None:
    """Take out of a tokenizer's files what transformers adds to it beyond the embedding."""
    words, settings = folder / "tokenizer.json", folder / "tokenizer_config.json"
    if not words.is_file():
        return
    described = json.loads(words.read_text("utf-8"))
    beyond = {token["content"] for token in described["added_tokens"] if token["id"] >= rows}
    if beyond:
        described["added_tokens"] = [t for t in described["added_tokens"] if t["id"] < rows]
        write_json(words, described)
        fields = json.loads(settings.read_text("utf-8")).items()
        write_json(settings, {k: v for k, v in fields if not isinstance(v, str) or v not in beyond})


def _dequantise() -> dict[str, Any]:
    """Return what tells transformers to unpack the weights; older versions always do."""
    import transformers

    settings = getattr(transformers, "GgufConfig", None)
    return {} if settings is None else {"quantization_config": settings(dequantize=True)}


def _set_splitter(tokenizer: Any, splitter: str) -> None:
    """Let the tokenizer split text as the file says; transformers may do it as GPT-2 does."""
    from tokenizers import Regex, pre_tokenizers

    first: Any = None
    if splitter == "smollm":
        first = pre_tokenizers.Digits(individual_digits=True)
    elif splitter in SPLITTERS:
        first = pre_tokenizers.Split(Regex(SPLITTERS[splitter]), "isolated")
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if first is None or backend is None:
        return
    rest = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=splitter == "smollm")
    backend.pre_tokenizer = pre_tokenizers.Sequence([first, rest])
    backend.model.ignore_merges = splitter == "llama-bpe"


def _move(temporary: Path, folder: Path) -> None:
    """Give a finished folder its name, unless another process was faster."""
    temporary.chmod(0o755)
    for path in temporary.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())
    try:
        temporary.replace(folder)
    except OSError:
        if not (folder / "config.json").is_file():
            raise
