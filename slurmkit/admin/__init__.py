"""What an administrator does once per machine: build, install and check the SPANK plugins."""

from slurmkit.admin.build import build, default_output
from slurmkit.admin.check import Report, check
from slurmkit.admin.headers import Headers, find_headers
from slurmkit.admin.install import install, uninstall
from slurmkit.admin.lua import install_lua, uninstall_lua

__all__ = [
    "Headers",
    "Report",
    "build",
    "check",
    "default_output",
    "find_headers",
    "install",
    "install_lua",
    "uninstall",
    "uninstall_lua",
]
