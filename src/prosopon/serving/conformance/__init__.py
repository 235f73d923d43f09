"""Whether any OpenAI-compatible server keeps its rows apart, asked from outside."""
