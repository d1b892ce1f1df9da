// A pre-hook that refuses privileged containers, with nothing but Node's standard library.
//
// Run it:  node unprivileged.mjs 9002
//
//     endpoints:
//       "POST /*/containers/create": {pre: [unprivileged]}
//       "POST /*/containers/*/start": {pre: [unprivileged]}   # old clients send HostConfig here
//       "POST /*/containers/*/exec": {pre: [unprivileged]}
//     adapters:
//       unprivileged: http://127.0.0.1:9002/unprivileged

import { createServer } from "node:http";
import { text } from "node:stream/consumers";

function isPrivileged({ Privileged, HostConfig }) {
  return Privileged || HostConfig?.Privileged;
}

function answer(response, status, value) {
  response.writeHead(status, { "Content-Type": "application/json" });
  response.end(JSON.stringify(value));
}

const server = createServer(async (request, response) => {
  try {
    const { ClientRequest } = JSON.parse(await text(request));
    if (isPrivileged(JSON.parse(ClientRequest.Body ?? "{}"))) {
      answer(response, 403, { message: "privileged containers are not allowed here" });
    } else {
      answer(response, 200, { PowerstripProtocolVersion: 1, ModifiedClientRequest: ClientRequest });
    }
  } catch (error) {
    answer(response, 400, { message: `unprivileged: not a hook: ${error.message}` });
  }
});

server.listen(Number(process.argv[2]), "127.0.0.1");
