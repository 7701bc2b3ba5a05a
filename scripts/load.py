#!/usr/bin/env python3
"""Server memory while idle and while a large upload streams in, and the time from accepted to claimed.

    scripts/load.py URL PID TOKEN CHALLENGE PHASE RESULTS.zip MODEL.onnx

PID is the server's. The upload of 500 MiB goes in as a model, whose limit does not depend on the phase's images, and is refused at its end.
Nothing but the standard library; it talks to a server on this machine only.
"""
import http.client
import io
import json
import statistics
import sys
import threading
import time
import urllib.parse
import uuid
import zipfile
from datetime import datetime

UPLOAD_BYTES = 500 << 20
ROUNDS = 12


def resident(pid):
    with open(f"/proc/{pid}/status") as status:
        fields = dict(line.split(":", 1) for line in status)
    return int(fields["VmRSS"].split()[0]) / 1024


def part(boundary, name, data):
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"; filename="{name}"\r\n'
    return head.encode() + b"Content-Type: application/octet-stream\r\n\r\n", data


def post(url, path, token, files):
    """A multipart upload, streamed; `files` are (name, length, iterable of bytes)."""
    boundary = uuid.uuid4().hex
    heads = [(part(boundary, name, None)[0], length, data) for name, length, data in files]
    tail = f"--{boundary}--\r\n".encode()
    total = sum(len(head) + length + 2 for head, length, _ in heads) + len(tail)
    connection = http.client.HTTPConnection(url.hostname, url.port, timeout=600)
    connection.putrequest("POST", path)
    connection.putheader("Authorization", f"Bearer {token}")
    connection.putheader("Content-Type", f"multipart/form-data; boundary={boundary}")
    connection.putheader("Content-Length", str(total))
    connection.endheaders()
    for head, _, data in heads:
        connection.send(head)
        for chunk in data:
            connection.send(chunk)
        connection.send(b"\r\n")
    connection.send(tail)
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read())


def get(url, path, token):
    connection = http.client.HTTPConnection(url.hostname, url.port, timeout=60)
    connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
    return json.loads(connection.getresponse().read())


def renumbered(path, number):
    """The results zip with another readme."""
    out = io.BytesIO()
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            if not name.lower().endswith("readme.txt"):
                new.writestr(name, old.read(name))
        new.writestr("readme.txt", f"Other description : round {number}, {uuid.uuid4()}\n")
    return out.getvalue()


def main():
    base, pid, token, challenge, phase, results, model = sys.argv[1:]
    url = urllib.parse.urlparse(base)
    path = f"/api/v1/challenges/{challenge}/phases/{phase}/submissions"
    idle = resident(pid)
    peak, done = [idle], threading.Event()

    def watch():
        while not done.wait(0.02):
            peak[0] = max(peak[0], resident(pid))

    watcher = threading.Thread(target=watch)
    watcher.start()
    chunk = bytes(1 << 20)
    begun = time.monotonic()
    status, _ = post(url, path, token, [("model", UPLOAD_BYTES, (chunk for _ in range(UPLOAD_BYTES >> 20)))])
    seconds = time.monotonic() - begun
    done.set()
    watcher.join()
    print(f"server memory, idle                        {idle:8.1f} MiB")
    print(f"server memory, peak in a 500 MiB upload    {peak[0]:8.1f} MiB (+{peak[0] - idle:.1f}; {seconds:.1f} s, {status})")

    waits = []
    for _ in range(ROUNDS):
        # The same files again would be the same submission: each round says its number in the readme.
        r = renumbered(results, len(waits))
        with open(model, "rb") as file:
            m = file.read()
        status, answer = post(url, path, token, [("results", len(r), [r]), ("model", len(m), [m])])
        if status != 202:
            sys.exit(f"not accepted: {status} {answer}")
        while True:
            detail = get(url, f"/api/v1/submissions/{answer['id']}", token)
            if detail["state"] in ("scored", "failed", "cancelled"):
                break
            time.sleep(0.2)
        created, started = (datetime.fromisoformat(detail[k].replace("Z", "+00:00")) for k in ("created_at", "started_at"))
        waits.append((started - created).total_seconds() * 1000)
    print(f"accepted to claimed, worker idle           {statistics.median(waits):8.1f} ms median, {max(waits):.1f} ms max of {len(waits)}")


if __name__ == "__main__":
    main()
