"""The reference page of job.yaml, written from the models."""

from slurmkit.spec.examples import EXAMPLES
from slurmkit.spec.models import JobSpec
from slurmkit.yamlfile.reference import markdown as page_of

_INTRODUCTION = """\
# job.yaml

What a job asks for. Every key that is not marked **required** may be left out; a key without a
value counts as not given. Texts are taken as they are written: `LR: 1e-4`, `X: 010` and
`DEBUG: true` under `env` arrive in every task as exactly these characters, quoted or not. Only
`true` and `false` are booleans, and `1:30:00` is a text, not a number.

`extends` puts this file over others: mappings are merged, everything else is replaced, and paths
are relative to the file that says so. `--set resources.nodes=4` on the command line comes last.

The JSON Schema, `slurmkit schema job`, lets editors complete and check the file: put
`# yaml-language-server: $schema=job.schema.json` into its first line.

"""


def markdown() -> str:
    """Return the page."""
    return _INTRODUCTION + page_of(JobSpec, EXAMPLES)
