"""Whether the Hugging Face Hub can be reached: asked once, before its libraries try for long."""

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
        return (str(error).strip().splitlines() or [type(error).__name__])[0]
    return None


def reason(error: BaseException) -> str:
    """Return an error's message, and its cause's where that says more, as one line."""
    text = " ".join(str(error).split()) or type(error).__name__
    cause = reason(error.__cause__) if error.__cause__ else ""
    return text if cause in text else f"{text}: {cause}"
