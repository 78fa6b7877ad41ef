"""The reference page of site.yaml, written from the models."""

from slurmkit.site.examples import EXAMPLES
from slurmkit.site.models import Site
from slurmkit.yamlfile.reference import markdown as page_of

_INTRODUCTION = """\
# site.yaml

What a cluster is, so that jobs need not repeat it. It is looked for in this order, and the first
one found counts alone:

1. `--site PATH`, a file or the folder that holds `site.yaml`
2. `$SLURMKIT_SITE`, the same
3. `$XDG_CONFIG_HOME/slurmkit/site.yaml`, by default `~/.config/slurmkit/site.yaml`
4. `/etc/slurmkit/site.yaml`

With none of them, partitions and kinds of nodes are read from the live cluster and everything
else has the default below. `slurmkit site show` prints what holds and where it came from.

"""


def markdown() -> str:
    """Return the page."""
    return _INTRODUCTION + page_of(Site, EXAMPLES)
