"""The tutorial's backend: a thread pool for each request, a connection for each fetch."""

import os
import time
from concurrent.futures import ThreadPoolExecutor, as_completed

import requests
from flask import Flask, jsonify

URLS = os.environ["URLS"].split()
POOL = int(os.environ["POOL"])

app = Flask(__name__)


def fetch(url):
    start = time.monotonic()
    try:
        response = requests.get(url, timeout=10)
        response.raise_for_status()
        result = {"url": url, "status": response.status_code, "content": response.text[:100]}
    except requests.RequestException as error:
        result = {"url": url, "error": str(error)}
    return result | {"elapsed": time.monotonic() - start}


@app.get("/concurrent_requests/")
def concurrent_requests():
    start = time.monotonic()
    with ThreadPoolExecutor(max_workers=POOL) as pool:
        parts = [pool.submit(fetch, url) for url in URLS]
        results = [part.result() for part in as_completed(parts)]
    return jsonify(results=results, total_time=time.monotonic() - start)


@app.get("/health/live")
def live():
    return jsonify(status="live")
