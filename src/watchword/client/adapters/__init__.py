"""One HTTP library each: httpx, requests, aiohttp, urllib3, gRPC. Imported only when asked for."""
