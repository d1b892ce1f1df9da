"""
A pre-hook that gives each new container a label.

Run it:  pip install klein; python label.py 9001

    endpoints:
      "POST /*/containers/create": {pre: [label]}
    adapters:
      label: http://127.0.0.1:9001/label
"""

import json
import sys

from klein import Klein
from twisted.web.iweb import IRequest

app = Klein()


@app.route("/label", methods=["POST"])
def add_label(request: IRequest) -> str:
    client_request = json.load(request.content)["ClientRequest"]
    if client_request["Body"] is not None:
        container = json.loads(client_request["Body"])
        container["Labels"] = {**(container.get("Labels") or {}), "via": "powerstrip"}
        client_request["Body"] = json.dumps(container)
    return json.dumps({"PowerstripProtocolVersion": 1, "ModifiedClientRequest": client_request})


if __name__ == "__main__":
    app.run("127.0.0.1", int(sys.argv[1]))
