"""`python -m watchword.cli` is the `watchword` command."""

from .main import main

main()
