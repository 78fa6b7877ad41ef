"""The client of a sandbox's elastic agent: ``elastic_driver.py SOCKET start|stop|list HOST...``.

Run by path (``python -I -S``) and free of imports from slurmkit, as a site's own driver would be.
"""

import json
import socket
import sys


def main(path: str, action: str, *hosts: str) -> int:
    """Send one request and print the answer."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(60)
        client.connect(path)
        with client.makefile("rw", encoding="utf-8") as stream:
            stream.write(json.dumps([action, *hosts]) + "\n")
            stream.flush()
            for line in stream:
                sys.stdout.write(line)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
