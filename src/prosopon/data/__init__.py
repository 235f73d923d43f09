"""Examples: reading them, showing them to a model's tokenizer, putting them into batches.

| module | what it holds |
| --- | --- |
| `examples` | messages, examples, personas |
| `loading` | personas by name: bundled, a file, a data set of the Hub |
| `readers` | the file formats |
| `hub` | data sets of the Hub and local folders |
| `chat` | messages to text, with the model's own template |
| `encoding` | text to tokens, and which of them count |
| `batching` | tokens to padded batches |
| `bundled` | the embedded model's personas |
| `library` | personas in natural English, for chat models |
| `banks` | questions: neutral, checkable, everyday ones, open ones for an axis |
| `pairs`, `openings`, `dropout` | answers side by side, shared beginnings, words left out |
| `splits` | calibration, judge and test parts that share no prompt |
"""

from prosopon.data.banks import is_right, load_bank, open_bank
from prosopon.data.batching import Batch, PaddingSide, collate, length_buckets
from prosopon.data.chat import merge_system, render, render_prompt, rendering_date
from prosopon.data.encoding import SCOPES, Encoded, Scope, encode, encode_all, encode_continuations
from prosopon.data.examples import Example, Message, Persona
from prosopon.data.hub import parse_address, read_hub
from prosopon.data.loading import PersonaSource, load_contrast, load_persona
from prosopon.data.pairs import EncodedPair, ExamplePair, PersonaPair, pair_examples
from prosopon.data.readers import READERS, Reader, read_examples
from prosopon.data.splits import draw, split_contrast

__all__ = [
    "READERS",
    "SCOPES",
    "Batch",
    "Encoded",
    "EncodedPair",
    "Example",
    "ExamplePair",
    "Message",
    "PaddingSide",
    "Persona",
    "PersonaPair",
    "PersonaSource",
    "Reader",
    "Scope",
    "collate",
    "draw",
    "encode",
    "encode_all",
    "encode_continuations",
    "is_right",
    "length_buckets",
    "load_bank",
    "load_contrast",
    "load_persona",
    "merge_system",
    "open_bank",
    "pair_examples",
    "parse_address",
    "read_examples",
    "read_hub",
    "render",
    "render_prompt",
    "rendering_date",
    "split_contrast",
]
