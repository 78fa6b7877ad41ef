"""What sbatch makes of a script's directives, for scripts from templates that people wrote."""

import re

_HEREDOC = re.compile(r"<<-?\s*(['\"]?)([A-Za-z_]\w*)\1")


def directives_after_command(script: str) -> list[int]:
    """Return the line numbers of ``#SBATCH`` lines that sbatch ignores, as a command precedes them.

    sbatch reads directives up to the first line that is neither empty nor a comment. Text of here
    documents is left out: it is the content of another file.
    """
    ignored: list[int] = []
    seen_command = False
    end_of_heredoc = ""
    for number, line in enumerate(script.split("\n"), start=1):
        text = line.strip()
        if end_of_heredoc:
            end_of_heredoc = "" if text == end_of_heredoc else end_of_heredoc
        elif line.startswith("#SBATCH"):
            if seen_command:
                ignored.append(number)
        elif text and not text.startswith("#"):
            seen_command = True
            match = _HEREDOC.search(text)
            end_of_heredoc = match[2] if match else ""
    return ignored
