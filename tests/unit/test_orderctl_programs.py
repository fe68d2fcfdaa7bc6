"""Programs that orderctl runs to their end, and what is said of those that fail."""

import sys
from pathlib import Path

import pytest

from orderctl.errors import PartFailedError
from orderctl.programs import output_of, succeeds

COMPLAINS = "import sys; sys.stderr.write('first\\nlast\\n'); sys.exit(3)"


def python(code: str) -> list[str]:
    """A program that does this."""
    return [sys.executable, "-c", code]


@pytest.mark.parametrize(
    ("command", "last_line", "said"),
    [
        (python(COMPLAINS), False, "asking: first\nlast"),
        (python(COMPLAINS), True, "asking: last"),
        (python("import sys; sys.exit(3)"), True, "asking: "),
        (["no-such-program"], False, "asking: No such file or directory"),
        (python("import time; time.sleep(60)"), False, "asking: no answer within 0.5 s"),
    ],
)
def test_a_program_that_fails_is_quoted(command: list[str], last_line: bool, said: str) -> None:
    """By what it complained of, or by what kept it from saying anything; never by its whole command line."""
    seconds = 0.5 if "60" in command[-1] else 30.0
    with pytest.raises(PartFailedError) as raised:
        output_of(command, seconds=seconds, called="asking", last_line=last_line)
    assert str(raised.value) == said


def test_all_that_a_program_prints_is_added_to_its_log(tmp_path: Path) -> None:
    """Attempts stand there one after the other, whether they went well or not."""
    log = tmp_path / "logs" / "build.log"
    assert succeeds(python("print('pulled')"), log, seconds=30.0)
    assert not succeeds(python(COMPLAINS), log, seconds=30.0)
    assert log.read_text(encoding="utf-8").split() == ["pulled", "first", "last"]
