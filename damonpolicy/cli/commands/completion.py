"""``damonpolicy completion``."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from damonpolicy.base.errors import UsageError
from damonpolicy.cli.context import Invocation, subcommand
from damonpolicy.cli.show.output import Result

_BASH = r"""_damonpolicy_completion() {
    local IFS=$'\n' words=() word glued="" i type value prefix
    # to bash a colon and an equals sign are words of their own, to damonpolicy they are not
    for ((i = 0; i <= COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        if ((${#words[@]})) && [[ $glued || $word == [:=] ]]; then
            words[${#words[@]}-1]+=$word
        else
            words+=("$word")
        fi
        glued=""
        [[ $word == [:=] ]] && glued=1
    done
    word=${words[${#words[@]}-1]}
    prefix=""
    [[ $word == *[:=]* ]] && prefix=${word%"${word##*[:=]}"}
    COMPREPLY=()
    while IFS=',' read -r type value; do
        case $type in
            dir) compopt -o dirnames ;;
            file) compopt -o default ;;
            plain)
                COMPREPLY+=("${value#"$prefix"}")
                [[ $value == *= ]] && compopt -o nospace
                ;;
        esac
    done < <(COMP_WORDS="${words[*]}" COMP_CWORD=$((${#words[@]} - 1)) \
        _DAMONPOLICY_COMPLETE=bash_complete "$1" 2>/dev/null)
    return 0
}

complete -o nosort -F _damonpolicy_completion damonpolicy"""
"""click's script, except that names may contain a colon, and errors never mix with the user's
words.
"""


@subcommand("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(invocation: Invocation, shell: str) -> Result:
    """Print a completion script for SHELL.

    For bash: `source <(damonpolicy completion bash)`.
    """
    del invocation
    kind = get_completion_class(shell)
    if kind is None:
        raise UsageError(f"there is no completion for `{shell}`")
    from damonpolicy.cli.main import damonpolicy

    script = kind(damonpolicy, {}, "damonpolicy", "_DAMONPOLICY_COMPLETE").source()
    if shell == "bash":
        script = _BASH
    return Result(script + "\n", {"script": script}, raw=True)
