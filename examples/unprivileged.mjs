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

// The engine reads member names in any case, "ſ" as "s" and the Kelvin sign as "k" included
// (Go's encoding/json): a policy that does not can be stepped past.
const folded = (name) => name.toLowerCase().toUpperCase();

function isPrivileged(body) {
  let found = false;
  JSON.parse(body, (name, value) => {
    found ||= folded(name) === "PRIVILEGED" && value === true;
    return value;
  });
  return found;
}

function answer(response, status, value) {
  const body = JSON.stringify(value);
  response.writeHead(status, {
    "Content-Type": "application/json",
    "Content-Length": Buffer.byteLength(body),
  });
  response.end(body);
}

const server = createServer(async (request, response) => {
  try {
    const { ClientRequest } = JSON.parse(await text(request));
    // A Body of null holds no JSON, so there is nothing in it that the engine could obey.
    if (ClientRequest.Body !== null && isPrivileged(ClientRequest.Body)) {
      answer(response, 403, { message: "privileged containers are not allowed here" });
    } else {
      answer(response, 200, { PowerstripProtocolVersion: 1, ModifiedClientRequest: ClientRequest });
    }
  } catch (error) {
    answer(response, 400, { message: `unprivileged: not a hook: ${error.message}` });
  }
});

server.listen(Number(process.argv[2]), "127.0.0.1");
