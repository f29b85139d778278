"""The server: `pip install watchword[server]`."""
