"""Serving many personas from one model over HTTP, as the openai package speaks it."""
