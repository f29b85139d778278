"""The listener: connections, TLS and worker processes under uvicorn."""
