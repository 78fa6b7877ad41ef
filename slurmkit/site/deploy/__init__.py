"""A site's files on a machine: what would change, put there as one, and taken back.

`folder` reads what a site folder wants, `plan` compares it with what is there (pure), `store`
writes and reads single files, and `apply` makes all of it one step that can be interrupted.
"""

from slurmkit.site.deploy.apply import Machine
from slurmkit.site.deploy.folder import SiteFolder, read_folder
from slurmkit.site.deploy.plan import Change, Conflict, FileState

__all__ = ["Change", "Conflict", "FileState", "Machine", "SiteFolder", "read_folder"]
