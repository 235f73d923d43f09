"""Loading a model for a command: what is said while it loads, and where it is nowhere."""


def test_a_model_that_is_nowhere_is_one_line(prosopon):
    done = prosopon("chat", "-m", "no-such-org/model", "--message", "Hi", code=2)
    assert len([line for line in done.stderr.splitlines() if line.startswith("error: ")]) == 1
    assert "no-such-org/model" in done.stderr.splitlines()[-1]


def test_a_local_model_loads_without_bars(prosopon, tiny_folder):
    done = prosopon("chat", "-m", tiny_folder, "--message", "Hi", "--max-new-tokens", "2")
    assert done.stderr == ""
