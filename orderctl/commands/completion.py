"""`orderctl completion`: what makes a shell ask this command for what could come next.

The scripts speak to typer, which answers where it is called with the variable; they call the command
by the name or path under which it is being typed, because it need not be on PATH.
"""

from enum import StrEnum
from typing import Annotated, Final

import typer

COMPLETING: Final = "_ORDERCTL_COMPLETE"
"""Set where a shell asks for what could come next."""


class Shell(StrEnum):
    """The shells that can be told."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


_SCRIPTS: Final = {
    Shell.BASH: f"""\
_orderctl() {{
  local IFS=$'\\n'
  COMPREPLY=($(COMP_WORDS="${{COMP_WORDS[*]}}" COMP_CWORD=$COMP_CWORD {COMPLETING}=complete_bash "$1"))
}}
complete -o default -F _orderctl orderctl""",
    Shell.ZSH: f"""\
_orderctl() {{
  eval "$(_TYPER_COMPLETE_ARGS="${{words[1,$CURRENT]}}" {COMPLETING}=complete_zsh ${{~words[1]}})"
}}
compdef _orderctl orderctl""",
    Shell.FISH: f"""\
function _orderctl
  set --local called (commandline --tokenize --cut-at-cursor)
  env {COMPLETING}=complete_fish _TYPER_COMPLETE_FISH_ACTION=$argv[1] \\
    _TYPER_COMPLETE_ARGS=(commandline --cut-at-cursor --current-process | string collect) $called[1]
end
complete --command orderctl --no-files --condition '_orderctl is-args' --arguments '(_orderctl get-args)'""",
}


def completion(shell: Annotated[Shell, typer.Argument(help="Which one.", show_default=False)]) -> None:
    """Print what makes a shell complete commands and parts.

    For this session: eval "$(orderctl completion bash)", or zsh; orderctl completion fish | source.
    For all of them, put that line into ~/.bashrc, ~/.zshrc or ~/.config/fish/config.fish.
    """
    typer.echo(_SCRIPTS[shell])
