#!/usr/bin/env python3
"""Attacks a server of its own with 1,000 teams, and looks on as another visitor.

    scripts/attack.py [--program target/debug/upscore] [--teams 1000] [--entries 100] [--seconds 8] [--only NAME …] [--list]

It makes a data folder, two challenges and the teams, starts `upscore serve` there (no worker), and runs one attack after the other
from 127.0.0.1 while a visitor from 127.0.0.9 loads the board and the start page by turns, ten times a second, in a process of its own.
Of each attack it prints the requests, the median and 95th percentile of the board and the median of the start page in ms, the server's
highest resident memory in MB, and what came of it. It ends with 1 where a median is above 200 ms, the memory above 400 MB, or an
attack got what it wanted.

    scripts/attack.py --url URL --pid PID --token TOKEN --challenge SLUG --phase SLUG

does the same to a server that runs already, on this machine only unless --elsewhere is given: your own, as others call it a crime.
Every attack ends after --seconds and a number of requests. Nothing but the standard library, and psql for the teams.
"""
import argparse
import base64
import http.client
import io
import json
import multiprocessing
import os
import resource
import shutil
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
import uuid
import zipfile
import zlib

MEDIAN_MS = 200
RSS_MB = 400
VISITOR, ATTACKER = "127.0.0.9", "127.0.0.1"
PASSWORD = "a cheap passphrase"


# --- Files -----------------------------------------------------------------------------------------------------------------------

def png(width, height, seed=0, level=0):
    """Noise, so that it does not shrink."""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    import random
    rows = random.Random(seed)
    pixels = b"".join(b"\0" + rows.randbytes(3 * width) for _ in range(height))
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(pixels, level)) + chunk(b"IEND", b"")


def zipped(files, method=zipfile.ZIP_STORED):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, data in files:
            archive.writestr(name, data)
    return out.getvalue()


def varint(n):
    out = b""
    while n > 127:
        out, n = out + bytes([n & 127 | 128]), n >> 7
    return out + bytes([n])


def field(number, value):
    """Of a protobuf message: a number, or bytes."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    value = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(value)) + value


def onnx(weights=b""):
    """Nearest neighbour, four times as large; with unused weights of so many bytes."""
    def image(name):
        dims = b"".join(field(1, d) for d in (field(1, 1), field(1, 3), field(2, f"{name}_h"), field(2, f"{name}_w")))
        return field(1, name) + field(2, field(1, field(1, 1) + field(2, dims)))
    def text(name, value):
        return field(5, field(1, name) + field(4, value) + field(20, 3))
    scales = field(1, 4) + field(2, 1) + field(9, struct.pack("<4f", 1, 1, 4, 4)) + field(8, "scales")
    node = b"".join(field(1, name) for name in ("input", "", "scales")) + field(2, "output") + field(4, "Resize")
    node += text("mode", "nearest") + text("coordinate_transformation_mode", "asymmetric") + text("nearest_mode", "floor")
    graph = field(1, node) + field(2, "nearest") + field(5, scales) + field(11, image("input")) + field(12, image("output"))
    if weights:
        graph += field(5, field(1, len(weights)) + field(2, 3) + field(9, weights) + field(8, "ballast"))
    return field(1, 8) + field(7, graph) + field(8, field(2, 17))


# --- Requests --------------------------------------------------------------------------------------------------------------------

class Target:
    def __init__(self, args):
        self.url = urllib.parse.urlparse(args.url)
        self.host, self.port = self.url.hostname, self.url.port or 80
        self.pid, self.token, self.admin = args.pid, args.token, args.admin_token
        self.challenge, self.phase, self.small = args.challenge, args.phase, args.small
        self.board = f"/challenges/{args.challenge}/{args.phase}"
        self.seconds = args.seconds
        self.until = 0

    def begin(self):
        """The time runs from here: what is sent lies ready."""
        self.until = time.monotonic() + self.seconds

    def over(self):
        return time.monotonic() >= self.until

    def connect(self, source=ATTACKER, timeout=10, receive=None):
        connection = socket.socket()
        if receive:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive)
        connection.settimeout(timeout)
        if self.host.startswith("127."):
            connection.bind((source, 0))
        connection.connect((self.host, self.port))
        return connection

    def ask(self, method, path, body=b"", source=ATTACKER, timeout=30, token=None, **headers):
        """Status, headers and body; (0, {}, b"") where the server hung up."""
        lines = {"Host": self.url.netloc, "Connection": "close", "Content-Length": str(len(body))}
        if token:
            lines["Authorization"] = f"Bearer {token}"
        lines.update({name.replace("_", "-"): value for name, value in headers.items()})
        head = f"{method} {path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines.items()) + "\r\n"
        try:
            with self.connect(source, timeout) as connection:
                connection.sendall(head.encode("utf-8", "surrogateescape") + body)
                answer = http.client.HTTPResponse(connection, method=method)
                answer.begin()
                return answer.status, dict(answer.headers), answer.read()
        except (OSError, http.client.HTTPException):
            return 0, {}, b""

    def form(self, path, parts, token=None, **headers):
        """A multipart form of (name, file name or None, bytes)."""
        boundary = uuid.uuid4().hex
        body = b""
        for name, file, data in parts:
            file = f'; filename="{file}"' if file else ""
            body += f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'.encode() + data + b"\r\n"
        body += f"--{boundary}--\r\n".encode()
        headers["Content-Type"] = f"multipart/form-data; boundary={boundary}"
        return self.ask("POST", path, body, token=token, **headers)

    def submissions(self):
        return f"/api/v1/challenges/{self.small}/phases/{self.phase}/submissions"

    def upload(self, part, data):
        """A resumable upload, whole; its id."""
        pairs = {"challenge": self.small, "phase": self.phase, "part": part, "filename": part}
        metadata = ",".join(f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in pairs.items())
        status, headers, body = self.ask("POST", "/api/v1/uploads", token=self.token, Tus_Resumable="1.0.0",
                                         Upload_Length=str(len(data)), Upload_Metadata=metadata)
        if status != 201:
            return None
        at = {name.lower(): value for name, value in headers.items()}["location"]
        status, _, _ = self.ask("PATCH", at, data, timeout=120, token=self.token, Tus_Resumable="1.0.0", Upload_Offset="0",
                                Content_Type="application/offset+octet-stream")
        return at.rsplit("/", 1)[1] if status == 204 else None

    def submit(self, seed):
        """A small entry that is like no other; its status and id."""
        results = zipped([("0001.png", png(96, 64)), ("readme.txt", f"Other description : {seed} {uuid.uuid4()}\n".encode())])
        status, _, body = self.form(self.submissions(), [("results", "r.zip", results), ("model", "m.onnx", onnx())], self.token)
        return status, json.loads(body).get("id") if status == 202 else None


def parallel(target, workers, job, most=5000):
    """`job(n)` with n = 0, 1, …, by so many threads, until the time or the number is over; how many ran."""
    numbers, lock = iter(range(most)), threading.Lock()
    ran = [0]
    def work():
        # Attackers have machines of their own: what they compute must not be taken from the server's share of this one.
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 15)
        while not target.over():
            with lock:
                n = next(numbers, None)
            if n is None:
                return
            job(n)
            with lock:
                ran[0] += 1
    threads = [threading.Thread(target=work, daemon=True) for _ in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(target.seconds + 60)
    return ran[0]


def hold(target, many, open_one):
    """Opens so many connections, for half a minute at most, and holds them for as long as an attack takes; how many it asked for."""
    held, refused, until = [], 0, time.monotonic() + 30
    for n in range(many):
        if time.monotonic() > until or refused > 50:
            break
        try:
            held.append(open_one(n))
        except OSError:
            refused += 1
    target.begin()
    while not target.over():
        time.sleep(0.1)
    for connection in held:
        connection.close()
    return len(held) + refused


# --- Attacks: each gives its number of requests, and what it got that it should not have (or None) ---------------------------------

def past_boards(t):
    """60 at once ask for the board at times that nobody asked for before"""
    def job(n):
        t.ask("GET", f"{t.board}?at=2026-11-{1 + n % 28:02}T{n // 28 % 24:02}:{n // 672 % 60:02}Z")
    return parallel(t, 60, job), None


def past_exports(t):
    """60 at once export past boards, by the API"""
    def job(n):
        path = f"/api/v1/challenges/{t.challenge}/phases/{t.phase}/leaderboard"
        t.ask("GET", f"{path}?format={('csv', 'json', 'md', 'tex')[n % 4]}&at=2026-10-{1 + n % 28:02}T{n // 28 % 24:02}:00Z")
    return parallel(t, 60, job), None


def board_views(t):
    """60 at once ask for views of the board that are in no cache: filters, columns, orders"""
    def job(n):
        t.ask("GET", f"{t.board}?q=team+{n}&sort={('psnr', 'params', 'flops', 'runtime_ratio')[n % 4]}")
    return parallel(t, 60, job), None


def costly_pages(t):
    """40 at once ask for the study, comparisons, previews and feeds"""
    pages = ["/study", "/compare", "/embed?rows=1000", "/feed.atom", "/preview.png"]
    return parallel(t, 40, lambda n: t.ask("GET", f"{t.board}{pages[n % len(pages)]}")), None


def home_flood(t):
    """60 at once ask for the start page and the list of challenges"""
    return parallel(t, 60, lambda n: t.ask("GET", ("/", "/api/v1/challenges", f"/challenges/{t.challenge}")[n % 3])), None


def stalled_readers(t):
    """600 ask for lr.zip and read none of it"""
    # It may be made by the first who asks.
    until = time.monotonic() + 60
    while t.ask("GET", f"{t.board}/lr.zip", timeout=60)[0] != 200 and time.monotonic() < until:
        time.sleep(0.5)
    def open_one(_):
        connection = t.connect(receive=4096, timeout=3)
        connection.sendall(f"GET {t.board}/lr.zip HTTP/1.1\r\nHost: {t.url.netloc}\r\n\r\n".encode())
        return connection
    return hold(t, 600, open_one), None


def pipelined(t):
    """100 connections ask for the board 200 times each and read nothing"""
    ask = f"GET {t.board} HTTP/1.1\r\nHost: {t.url.netloc}\r\nX: {{}}\r\n\r\n"
    def open_one(_):
        connection = t.connect(receive=4096, timeout=1)
        try:
            connection.sendall(ask.encode() * 200)
        except OSError:
            pass
        return connection
    return 200 * hold(t, 100, open_one), None


def unfinished(t):
    """2,500 begin a request and do not end its head"""
    def open_one(_):
        connection = t.connect(timeout=1)
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nX-")
        return connection
    return hold(t, 2500, open_one), None


def dripping_heads(t):
    """300 send a head, one byte a second"""
    connections = []
    for _ in range(300):
        try:
            connections.append(t.connect(timeout=1))
        except OSError:
            break
    sent = 0
    for byte in b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: yes and no and yes and no":
        if t.over():
            break
        for connection in connections:
            try:
                connection.send(bytes([byte]))
                sent += 1
            except OSError:
                pass
        time.sleep(1)
    for connection in connections:
        connection.close()
    return len(connections), None


def half_forms(t):
    """800 announce a form of 1,000 bytes and send ten"""
    paths = ["/signin", "/signup", "/api/v1/session", "/forgotten", "/api/submissions/"]
    def open_one(n):
        connection = t.connect(timeout=1)
        head = f"POST {paths[n % len(paths)]} HTTP/1.1\r\nHost: {t.url.netloc}\r\nContent-Length: 1000\r\n"
        head += "Content-Type: application/x-www-form-urlencoded\r\nSec-Fetch-Site: same-origin\r\n\r\nname=abcde"
        connection.sendall(head.encode())
        return connection
    return hold(t, 800, open_one), None


def half_uploads(t):
    """200 send half of an entry"""
    def open_one(_):
        connection = t.connect(timeout=1)
        head = f"POST {t.submissions()} HTTP/1.1\r\nHost: {t.url.netloc}\r\nAuthorization: Bearer {t.token}\r\n"
        head += "Content-Length: 100000\r\nContent-Type: multipart/form-data; boundary=b\r\n\r\n"
        head += '--b\r\nContent-Disposition: form-data; name="results"; filename="r.zip"\r\n\r\nPK'
        connection.sendall(head.encode())
        return connection
    return hold(t, 200, open_one), None


def one_large_upload(t):
    """40 submissions at once name one upload of 250 MiB"""
    model = t.upload("model", onnx(os.urandom(250 << 20)))
    if model is None:
        return 1, None
    results = zipped([("0001.png", png(96, 64)), ("readme.txt", uuid.uuid4().hex.encode())])
    t.begin()
    def job(n):
        t.form(t.submissions(), [("results", "r.zip", results), ("model_upload", None, model.encode()), ("n", None, b"%d" % n)],
               t.token, timeout=120)
    return parallel(t, 40, job, 200), None


def submit_and_cancel(t):
    """Entries are sent in and cancelled for as long as it goes"""
    accepted = 0
    for n in range(100):
        if t.over() and n > 30:
            break
        status, entry = t.submit(n)
        if status != 202:
            return n + 1, None
        accepted += 1
        t.ask("POST", f"/api/v1/submissions/{entry}/cancel", token=t.token)
    return accepted, f"{accepted} entries were taken and cancelled without an end"


def open_uploads(t):
    """300 resumable uploads are begun and left"""
    taken = 0
    for n in range(300):
        pairs = {"challenge": t.small, "phase": t.phase, "part": "model", "filename": str(n)}
        metadata = ",".join(f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in pairs.items())
        status, _, _ = t.ask("POST", "/api/v1/uploads", token=t.token, Tus_Resumable="1.0.0", Upload_Length="100000000",
                             Upload_Metadata=metadata)
        taken += status == 201
        if t.over() and n > 100:
            break
    return n + 1, f"{taken} uploads stand open" if taken > 60 else None


def followers(t):
    """300 follow an entry's events, and read slowly"""
    _, entry = t.submit("followed")
    if entry is None:
        entries = json.loads(t.ask("GET", t.submissions(), token=t.token)[2] or b"{}").get("submissions") or []
        entry = entries[0]["id"] if entries else uuid.uuid4()
    def open_one(_):
        connection = t.connect(receive=4096, timeout=2)
        head = f"GET /api/v1/submissions/{entry}/events HTTP/1.1\r\nHost: {t.url.netloc}\r\n"
        connection.sendall((head + f"Authorization: Bearer {t.token}\r\nAccept: text/event-stream\r\n\r\n").encode())
        return connection
    return hold(t, 300, open_one), None


def wrong_passwords(t):
    """40 at once try passwords of one account; then its owner signs in from elsewhere"""
    session = json.dumps({"name": "Victim", "password": PASSWORD}).encode()
    home = "127.0.0.33"
    # The owner has signed in from their address before.
    t.ask("POST", "/api/v1/session", session, source=home, Content_Type="application/json")
    def job(n):
        body = json.dumps({"name": "Victim", "password": f"wrong passphrase {n}"}).encode()
        t.ask("POST", "/api/v1/session", body, source=f"127.1.{n % 200}.{1 + n // 200}", Content_Type="application/json")
    ran = parallel(t, 40, job, 2000)
    status, _, _ = t.ask("POST", "/api/v1/session", session, source=home, Content_Type="application/json")
    return ran, None if status in (0, 200, 201) else f"the owner is locked out: {status}"


def sign_ups(t):
    """40 at once make accounts"""
    def job(n):
        body = json.dumps({"name": f"Crowd {uuid.uuid4().hex[:12]}", "password": PASSWORD}).encode()
        t.ask("POST", "/api/v1/account", body, Content_Type="application/json")
    return parallel(t, 40, job, 2000), None


def nul(t):
    """NUL in every part of a path, in forms and in JSON"""
    paths = ["/challenges/%00", f"/challenges/{t.challenge}/%00", f"{t.board}?q=%00", f"{t.board}?at=%00", f"{t.board}?sort=%00",
             f"{t.board}/compare?entry=%00", "/submissions/%00", "/teams/%00", "/static/%00", "/join/%00", "/reset?key=%00",
             "/invitation?key=%00", "/unsubscribe?key=%00", "/organizer/%00", "/api/v1/challenges/%00",
             f"/api/v1/challenges/{t.challenge}/phases/%00/leaderboard", f"{t.board}/lr.zip?%00", "/api/competitions/%00/",
             "/api/competitions/?search=%00", "/api/v1/submissions/%00", "/api/v1/teams/%00", "/api/v1/uploads/%00",
             f"/api/v1/challenges/{t.challenge}/join", f"{t.board}/teams/%00/badge.svg", "/%00", "/signin?next=%00"]
    bad = []
    for path in paths:
        for token in (None, t.token, t.admin):
            status, _, _ = t.ask("GET", path, token=token)
            bad += [f"{status} {path}"] * (status >= 500)
    forms = {"/signin": ("name", "password"), "/signup": ("name", "password", "email"), "/forgotten": ("name", "email"),
             "/reset": ("key", "password"), "/signin/token": ("token",), "/invitation": ("key", "terms"),
             f"/join/{t.small}": ("name", "terms"), "/tokens": ("name", "days", "scope"), "/account/email": ("email",)}
    count = 3 * len(paths)
    for path, names in forms.items():
        for name in names:
            body = "&".join(f"{n}={'a%00b' if n == name else 'abcdefgh'}" for n in names).encode()
            status, _, _ = t.ask("POST", path, body, token=t.admin, Content_Type="application/x-www-form-urlencoded",
                                 Sec_Fetch_Site="same-origin")
            bad += [f"{status} POST {path} {name}"] * (status >= 500)
            count += 1
    documents = {"/api/v1/session": ("name", "password"), "/api/v1/account": ("name", "password", "email"),
                 "/api/v1/tokens": ("name",), "/api/v1/invitations/accept": ("key", "terms"),
                 f"/api/v1/challenges/{t.small}/join": ("name", "terms"), "/api/v1/reset-links": ("name",),
                 f"/api/v1/challenges/{t.small}/announcements": ("title", "text", "body")}
    for path, names in documents.items():
        for name in names:
            body = json.dumps({n: "a\0b" if n == name else "abcdefgh" for n in names}).encode()
            status, _, _ = t.ask("POST", path, body, token=t.admin, Content_Type="application/json")
            bad += [f"{status} POST {path} {name}"] * (status >= 500)
            count += 1
    return count, f"{len(bad)} answers of 500, as {bad[0]}" if bad else None


def slug_of_a_bundle(t):
    """A bundle under a slug that climbs out of the archive, or ends a header"""
    bundle = zipped([("competition.yaml", b"version: 2\ntitle: Zip slip\ndescription: x\nphases:\n- index: 0\n  name: One\n"
                      b"  start: 2026-01-01\n  end: 2026-02-01\n  tasks: [0]\ntasks:\n- index: 0\n  name: T\n")])
    got = []
    slugs = ["../../etc/x", "..", "a/b", "x%0d%0aX-Injected:%20yes", "x%22;filename=%22y", "%00", "/abs", "a%5c..%5cb", "x%0a"]
    for slug in slugs:
        for form in ("zip", "json"):
            status, headers, body = t.ask("POST", f"/api/v1/bundles?slug={slug}&format={form}", bundle, token=t.admin,
                                          Content_Type="application/zip")
            if "X-Injected" in headers or "x-injected" in headers or status >= 500 or status == 0:
                got.append(f"{slug}: {status}")
            elif status == 200 and form == "zip":
                names = zipfile.ZipFile(io.BytesIO(body)).namelist()
                got += [f"{slug}: {name}" for name in names if name.startswith("/") or ".." in name.split("/") or "\\" in name]
    return 2 * len(slugs), f"{len(got)} got through, as {got[0]}" if got else None


def huge_heads(t):
    """Heads of 1 MB, of 10,000 lines, and addresses of 100 kB"""
    def job(n):
        head = (f"GET / HTTP/1.1\r\nHost: x\r\nX: {'a' * (1 << 20)}\r\n\r\n",
                "GET / HTTP/1.1\r\nHost: x\r\n" + "".join(f"X-{i}: y\r\n" for i in range(10_000)) + "\r\n",
                f"GET /{'a' * 100_000} HTTP/1.1\r\nHost: x\r\n\r\n",
                f"GET / HTTP/1.1\r\nHost: x\r\nCookie: {'a=b; ' * 3000}\r\n\r\n")[n % 4]
        try:
            with t.connect() as connection:
                connection.sendall(head.encode())
                connection.recv(4096)
        except OSError:
            pass
    return parallel(t, 20, job, 1000), None


def deep_json(t):
    """Documents of 500,000 brackets, of numbers without end, of one key a hundred thousand times"""
    bodies = [b"[" * 500_000, b'{"a":' * 200_000, b'{"name":' + b"9" * 1_000_000 + b"}",
              b"{" + b",".join(b'"k%d":1' % n for n in range(100_000)) + b"}"]
    bad = []
    t.begin()
    def job(n):
        path = ("/api/v1/session", "/api/v1/account", "/api/submissions/", "/api/v1/invitations/accept")[n // 4 % 4]
        status, _, _ = t.ask("POST", path, bodies[n % 4], token=t.token if n % 2 else None, Content_Type="application/json")
        bad.extend([f"{status} {path}"] if status == 500 else [])
    return parallel(t, 20, job, 1000), f"{len(bad)} answers of 500, as {bad[0]}" if bad else None


def bombs(t):
    """Archives and images that unpack to gigabytes, as results and as models"""
    def bomb_png():
        head = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
        def chunk(kind, data):
            return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        data = zlib.compress(bytes(128 << 20), 6)
        return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    zeros = bytes(128 << 20)
    flat = zipped([("0001.png", zeros)], zipfile.ZIP_DEFLATED)
    nested = zipped([("0001.png", flat)], zipfile.ZIP_DEFLATED)
    text = zipped([("0001.png", png(96, 64)), ("readme.txt", zeros)], zipfile.ZIP_DEFLATED)
    image = zipped([("0001.png", bomb_png())])
    many = zipped([(f"{n}.png", b"") for n in range(20_000)])
    model = zipped([("m.onnx", zeros)], zipfile.ZIP_DEFLATED)
    good = zipped([("0001.png", png(96, 64))])
    kinds = [(flat, onnx()), (nested, onnx()), (text, onnx()), (image, onnx()), (many, onnx()), (good, model)]
    got = []
    t.begin()
    def job(n):
        results, network = kinds[n % len(kinds)]
        status, _, _ = t.form(t.submissions(), [("results", "r.zip", results), ("model", "m.onnx", network)], t.token)
        got.extend([f"{status} of kind {n % len(kinds)}"] if status in (202, 500) else [])
    return parallel(t, 8, job, 120), f"{len(got)} got through, as {got[0]}" if got else None


def many_parts(t):
    """Forms of 5,000 parts, of parts without names, of a head of 10 MB"""
    path = t.submissions()
    endless = b'--b\r\nContent-Disposition: form-data; name="' + b"a" * (10 << 20) + b'"\r\n\r\nx\r\n--b--\r\n'
    bad = []
    def job(n):
        if n % 3 == 2:
            status, _, _ = t.ask("POST", path, endless, token=t.token, Content_Type="multipart/form-data; boundary=b")
        else:
            parts = [(("" if n % 3 else f"f{i}"), None, b"x") for i in range(5000)]
            status, _, _ = t.form(path, parts, t.token)
        bad.extend([f"{status}"] if status in (202, 500) else [])
    return parallel(t, 8, job, 200), f"{len(bad)} answers of {bad[0]}" if bad else None


def endless_bodies(t):
    """100 send chunked bodies that do not end"""
    def open_one(n):
        connection = t.connect(timeout=1)
        path = ("/signin", "/api/v1/session", t.submissions(), "/organizer")[n % 4]
        head = f"POST {path} HTTP/1.1\r\nHost: {t.url.netloc}\r\nTransfer-Encoding: chunked\r\nSec-Fetch-Site: same-origin\r\n"
        head += f"Authorization: Bearer {t.token}\r\nContent-Type: {('application/x-www-form-urlencoded', 'application/json')[n % 2]}"
        connection.sendall(head.encode() + b"\r\n\r\n")
        try:
            for _ in range(64):
                connection.sendall(b"10000\r\n" + b"a" * 65536 + b"\r\n")
        except OSError:
            pass
        return connection
    return hold(t, 100, open_one), None


ATTACKS = [past_boards, past_exports, board_views, costly_pages, home_flood, stalled_readers, pipelined, unfinished, dripping_heads,
           half_forms, half_uploads, one_large_upload, submit_and_cancel, open_uploads, followers, wrong_passwords, sign_ups, nul,
           slug_of_a_bundle, huge_heads, deep_json, bombs, many_parts, endless_bodies]


# --- The visitor and the table ---------------------------------------------------------------------------------------------------

def visit(target, pipe):
    """Loads the board and the start page until told to stop; sends the milliseconds of both. A failure counts as ten seconds."""
    times = {target.board: [], "/": []}
    while not pipe.poll():
        for path, of_path in times.items():
            begun = time.monotonic()
            status, _, body = target.ask("GET", path, source=VISITOR, timeout=10)
            took = 1000 * (time.monotonic() - begun)
            of_path.append(took if status == 200 and len(body) > 1000 else 10_000)
            time.sleep(max(0, 0.1 - took / 1000))
    pipe.send([times[target.board], times["/"]])


def resident(pid):
    try:
        with open(f"/proc/{pid}/status") as status:
            return int(next(line for line in status if line.startswith("VmRSS")).split()[1]) / 1000
    except (OSError, StopIteration):
        return 0


def watched(target, attack):
    peak, done = [resident(target.pid)], threading.Event()
    def watch():
        while not done.wait(0.02):
            peak[0] = max(peak[0], resident(target.pid))
    ours, theirs = multiprocessing.Pipe()
    visitor = multiprocessing.Process(target=visit, args=(target, theirs), daemon=True)
    watcher = threading.Thread(target=watch)
    watcher.start()
    visitor.start()
    target.begin()
    try:
        requests, got = attack(target)
        while attack is quiet and not target.over():
            time.sleep(0.1)
    finally:
        ours.send("stop")
        times, others = ours.recv() if ours.poll(30) else ([], [])
        visitor.join(5)
        done.set()
        watcher.join()
    times, others = sorted(times) or [10_000], others or [10_000]
    if resident(target.pid) == 0:
        got = "the server is gone"
    return requests, statistics.median(times), statistics.median(others), times[-(-95 * (len(times) - 1) // 100)], peak[0], got


def quiet(_):
    """Nobody but the visitor"""
    return 0, None


def run(target, only):
    failed = 0
    print(f"{'attack':<18} {'requests':>8} {'board ms':>9} {'p95 ms':>8} {'start ms':>9} {'RSS MB':>7}  outcome", flush=True)
    for attack in [quiet] + [a for a in ATTACKS if not only or a.__name__ in only]:
        requests, median, start, p95, peak, got = watched(target, attack)
        faults = [f"the board took {median:.0f} ms"] * (median > MEDIAN_MS)
        faults += [f"the start page took {start:.0f} ms"] * (start > MEDIAN_MS)
        faults += [f"{peak:.0f} MB"] * (peak > RSS_MB) + [got] * bool(got)
        failed += bool(faults)
        outcome = "OPEN: " + "; ".join(faults) if faults else "holds"
        print(f"{attack.__name__:<18} {requests:>8} {median:>9.1f} {p95:>8.1f} {start:>9.1f} {peak:>7.1f}  {outcome}", flush=True)
        if got == "the server is gone":
            break
        settle(target)
    print(f"{failed} open" if failed else "0 open")
    return 1 if failed else 0


def settle(target):
    """Waits until the server answers an attacker again, at most half a minute: each attack is measured for itself."""
    until = time.monotonic() + 30
    while time.monotonic() < until and target.ask("GET", "/readyz", timeout=2)[0] != 200:
        time.sleep(0.5)
    time.sleep(1)


# --- A server of our own ---------------------------------------------------------------------------------------------------------

def admin(args, data, *words, stdin=None):
    command = [args.program, "admin", "--json", "--data-dir", data, "--log", "warn", *words]
    ran = subprocess.run(command, input=stdin, capture_output=True, text=True, env=environment())
    if ran.returncode:
        sys.exit(f"{' '.join(words)}: {ran.stdout}{ran.stderr}")
    return json.loads(ran.stdout)


def environment():
    return {key: value for key, value in os.environ.items() if key not in ("DATABASE_URL", "UPSCORE_URL", "UPSCORE_TOKEN")}


def serve(args, data):
    """Challenges `large` (8 LR images of 512×512) and `small`, the teams, and the server; fills in what `args` lacks."""
    images = os.path.join(data, "images")
    for name, sides in (("large", [(1024, 1024)] * 8), ("small", [(96, 64)])):
        os.makedirs(os.path.join(images, name))
        for n, (width, height) in enumerate(sides):
            with open(os.path.join(images, name, f"{n + 1:04}.png"), "wb") as file:
                file.write(png(width, height, n, 1))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    args.url, args.phase, args.challenge, args.small = f"http://127.0.0.1:{port}", "validation", "large", "small"
    store = os.path.join(data, "store")
    with open(os.path.join(data, "log"), "wb") as log:
        server = subprocess.Popen([args.program, "serve", "--listen", f"127.0.0.1:{port}", "--data-dir", store],
                                  stdout=log, stderr=log, env=environment())
    args.pid = server.pid
    try:
        for _ in range(600):
            if server.poll() is not None:
                sys.exit(open(os.path.join(data, "log")).read())
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                time.sleep(0.2)
        for name, scale in (("large", "2"), ("small", "4")):
            admin(args, store, "challenge", "create", "--slug", name, "--title", name.title(), "--phase", "validation",
                  "--hr", os.path.join(images, name), "--scale", scale)
        for name, more in (("Attacker", []), ("Olga", ["--organizer"]), ("Victim", [])):
            admin(args, store, "account", "create", "--name", name, "--password-stdin", *more, stdin=PASSWORD + "\n")
        admin(args, store, "team", "create", "--challenge", "small", "--name", "Attackers", "--member", "Attacker")
        args.token = admin(args, store, "token", "create", "--account", "Attacker", "--scope", "submit")["token"]
        args.admin_token = admin(args, store, "token", "create", "--account", "Olga", "--scope", "admin")["token"]
        settings = [f"set fill.{key} = '{value}'" for key, value in (("challenge", "large"), ("teams", args.teams), ("entries", args.entries))]
        sql = os.path.join(os.path.dirname(os.path.abspath(__file__)), "large.sql")
        psql = ["psql", "-h", os.path.join(store, "postgres", "run"), "-U", args.database_user, "-d", "upscore", "-q",
                "-v", "ON_ERROR_STOP=1"]
        subprocess.run(psql + [word for line in settings for word in ("-c", line)] + ["-f", sql], check=True)
    except BaseException:
        stop(server)
        raise
    return server


def stop(server):
    server.terminate()
    try:
        server.wait(60)
    except subprocess.TimeoutExpired:
        server.kill()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default="target/debug/upscore", help="of the server that is started")
    parser.add_argument("--teams", type=int, default=1000)
    parser.add_argument("--entries", type=int, default=100, help="of each team")
    parser.add_argument("--seconds", type=float, default=8, help="that each attack takes")
    parser.add_argument("--only", action="append", default=[], metavar="NAME")
    parser.add_argument("--list", action="store_true", help="name the attacks and stop")
    parser.add_argument("--url", help="a server that runs already")
    parser.add_argument("--elsewhere", action="store_true", help="it may be on another machine")
    parser.add_argument("--pid", type=int, help="its process")
    parser.add_argument("--token", help="of an account with a team in --small, scope submit")
    parser.add_argument("--admin-token", help="of an organizer, scope admin")
    parser.add_argument("--challenge", default="large", help="slug of a challenge with a large board")
    parser.add_argument("--small", default="small", help="slug of a challenge of one image, 0001, of 96×64 at scale 4")
    parser.add_argument("--phase", default="validation", help="slug of the phase of both")
    parser.add_argument("--database-user", default="upscore", help="of the private cluster")
    args = parser.parse_args()
    if args.list:
        for attack in ATTACKS:
            print(f"{attack.__name__:<18} {attack.__doc__}")
        return 0
    unknown = set(args.only) - {attack.__name__ for attack in ATTACKS}
    if unknown:
        parser.error(f"no such attack: {', '.join(sorted(unknown))}")
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    if args.url:
        host = urllib.parse.urlparse(args.url).hostname or ""
        if not args.elsewhere and not host.startswith("127.") and host not in ("localhost", "::1"):
            parser.error("--url is another machine: --elsewhere says that it is yours to attack")
        if not args.pid or not args.token:
            parser.error("a server that runs already needs --pid and --token")
        return run(Target(args), args.only)
    data = tempfile.mkdtemp(prefix="upscore-attack-", dir="/tmp")
    server = None
    try:
        server = serve(args, data)
        return run(Target(args), args.only)
    finally:
        if server:
            stop(server)
        shutil.rmtree(data, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
