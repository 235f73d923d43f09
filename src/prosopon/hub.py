"""Whether the Hugging Face Hub can be reached: asked once, before its libraries try for long."""

from __future__ import annotations

TIMEOUT = 4.0  # seconds


def unreachable() -> str | None:
    """Return in a few words why the Hub cannot be reached, or None where it answers.

    The libraries themselves try five times, and write a line each time, before they give up.
    Under ``HF_HUB_OFFLINE`` they try nothing, and nothing is asked here.
    """
    from huggingface_hub import constants, get_session

    if constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set"
    try:
        get_session().head(constants.ENDPOINT, timeout=TIMEOUT)
    except Exception as error:  # whatever the HTTP client of the library's version raises
        reason = str(error).strip().splitlines()
        return reason[0] if reason else type(error).__name__
    return None
