"""What the command says of words that it does not know."""

from __future__ import annotations

import pytest

from evenloop.cli import main


@pytest.mark.parametrize(
    ("words", "usage"),
    [
        (["run", "--fast", "app.py"], "usage: evenloop run "),
        (["doctor", "--fast"], "usage: evenloop doctor "),
        (["--fast"], "usage: evenloop [-h]"),
    ],
)
def test_an_option_that_is_not_there(
    words: list[str], usage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(words)
    assert exit_.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith(usage)
    assert said.endswith("error: nobody knows '--fast'\n")
