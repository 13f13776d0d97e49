"""A stand-in for the API of a Kubernetes cluster: it keeps what is posted, and says of a job what its command, run on this machine, came to.

No container is started: the command of a job runs in an empty folder, with the environment that an image would have, and files are those
of this machine.  What a cluster does with image, resources, tolerations and volumes is not tried.
"""

import json
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import yaml


class StandIn:
    """An API at ``url``: ``jobs`` and ``secrets`` are the bodies that were posted to it, ``paths`` where, ``deleted`` what was taken back."""

    def __init__(self, work: Path, environment: dict[str, str]):
        self.work, self.environment = work, environment
        self.jobs: list[dict] = []
        self.secrets: list[dict] = []
        self.paths: set[str] = set()
        self.deleted: list[str] = []
        self._running: dict[str, subprocess.Popen] = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def write_config(self, path: Path) -> None:
        """A kubeconfig that leads here."""
        cluster = {"name": "here", "cluster": {"server": self.url}}
        user = {"name": "nobody", "user": {}}
        context = {"name": "here", "context": {"cluster": "here", "user": "nobody"}}
        parts = {"clusters": [cluster], "users": [user], "contexts": [context], "current-context": "here"}
        path.write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "Config", **parts}))

    def said(self) -> str:
        """What the commands of all jobs printed."""
        return "".join(path.read_text(errors="replace") for path in sorted(self.work.glob("*.log")))

    def stop(self) -> None:
        """End the server, and the jobs that still run."""
        self._server.shutdown()
        self._server.server_close()
        for process in self._running.values():
            process.kill()

    def _begin(self, job: dict) -> tuple[dict, int]:
        (container,) = job["spec"]["template"]["spec"]["containers"]
        if not container.get("image"):  # as the API does
            return {"kind": "Status", "status": "Failure", "message": "containers[0].image: Required value"}, 422
        self.jobs.append(job)
        name = job["metadata"]["name"]
        folder = self.work / name
        folder.mkdir(parents=True)
        with open(folder.with_suffix(".log"), "w") as log:
            self._running[name] = subprocess.Popen(
                [*container["command"], *container["args"]], cwd=folder, env=self.environment, stdout=log, stderr=log
            )
        return job, 201

    def _look(self, path: str) -> dict:
        if "/jobs/" not in path:  # pods end with their job here
            return {"kind": "PodList", "apiVersion": "v1", "items": []}
        name = path.split("/jobs/")[1].split("/")[0]
        code = self._running[name].poll()
        state = {} if code is None else {"succeeded": 1} if code == 0 else {"failed": 1}
        return {"kind": "Job", "apiVersion": "batch/v1", "metadata": {"name": name}, "status": state}

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        stand_in = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                stand_in.paths.add(self.path)
                if self.path.endswith("/jobs"):
                    self._answer(*stand_in._begin(body))
                else:
                    stand_in.secrets.append(body)
                    self._answer(body, 201)

            def do_GET(self):
                self._answer(stand_in._look(self.path))

            def do_DELETE(self):
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                stand_in.deleted.append(self.path.split("?")[0].rsplit("/")[-1])
                self._answer({"kind": "Status", "apiVersion": "v1", "status": "Success"})

            def _answer(self, body: dict, status: int = 200):
                content = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *words):
                pass

        return Handler
