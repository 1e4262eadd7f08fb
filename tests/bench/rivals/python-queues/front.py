"""POST /tasks in Flask: hands the task to Celery or RQ, or to a thread as the tutorial does."""

import os
import threading
import time
from uuid import uuid4

from flask import Flask, request

app = Flask(__name__)

if os.environ["QUEUE"] == "thread":
    def enqueue(payload):
        threading.Thread(target=time.sleep, args=(payload["duration"],)).start()
        return str(uuid4())
else:
    queue = __import__(f"{os.environ['QUEUE']}_queue")
    enqueue = queue.enqueue


@app.post("/tasks")
def submit():
    return {"id": enqueue(request.get_json())}, 202
