"""
A pre-hook that makes each request a second slower, and changes nothing.

It does what ClusterHQ's powerstrip-slowreq did, and shows how a hook waits without a thread.

Run it:  pip install klein; python slowreq.py 9003

    endpoints:
      "POST /*/containers/create": {pre: [slowreq]}
    adapters:
      slowreq: http://127.0.0.1:9003/slowreq-adapter
"""

import json
import sys

from klein import Klein
from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.web.iweb import IRequest

DELAY_SECONDS = 1.0

app = Klein()


@app.route("/slowreq-adapter", methods=["POST"])
async def slow_request(request: IRequest) -> str:
    client_request = json.load(request.content)["ClientRequest"]
    await deferLater(reactor, DELAY_SECONDS)
    return json.dumps({"PowerstripProtocolVersion": 1, "ModifiedClientRequest": client_request})


if __name__ == "__main__":
    app.run("127.0.0.1", int(sys.argv[1]))
