"""
The demo's own adapter, in Klein: a pre-hook with a policy, and a post-hook.

Run it:  python concierge.py 9004

    endpoints:
      "POST /*/containers/create": {pre: [welcome], post: [announce]}
    adapters:
      welcome: http://127.0.0.1:9004/welcome
      announce: http://127.0.0.1:9004/announce
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from klein import Klein
from twisted.web.iweb import IRequest

app = Klein()


@app.route("/welcome", methods=["POST"])
def welcome(request: IRequest) -> str:
    """
    Refuses privileged containers, and gives all others one more variable.
    """
    client_request = json.load(request.content)["ClientRequest"]
    if client_request["Body"] is None:  # no JSON: the engine will say so
        return reply("ModifiedClientRequest", client_request)
    container = json.loads(client_request["Body"])
    if (container.get("HostConfig") or {}).get("Privileged"):
        request.setResponseCode(403)
        request.setHeader("Content-Type", "application/json")  # or docker shows the JSON itself
        return json.dumps({"message": "concierge: no privileged containers here"})
    container["Env"] = [*(container.get("Env") or []), "GREETING=hello from a pre-hook"]
    client_request["Body"] = json.dumps(container)
    return reply("ModifiedClientRequest", client_request)


@app.route("/announce", methods=["POST"])
def announce(request: IRequest) -> str:
    """
    Tells its own log of each new container, and the client by one of Docker's warnings.
    """
    response = json.load(request.content)["ServerResponse"]
    if response["Code"] == 201:
        created = json.loads(response["Body"])
        print(f"container {created['Id'][:12]} has been created", file=sys.__stdout__, flush=True)
        created["Warnings"] = [*(created["Warnings"] or []), "seen by a post-hook"]
        response["Body"] = json.dumps(created)
    return reply("ModifiedServerResponse", response)


def reply(member: str, value: dict[str, Any]) -> str:
    return json.dumps({"PowerstripProtocolVersion": 1, member: value})


if __name__ == "__main__":
    with open(os.devnull, "w") as nowhere:
        app.run("127.0.0.1", int(sys.argv[1]), logFile=nowhere)
