// Runs notes on one node, and on no other.
//
//     npm install dockerode
//     node notes.mjs tcp://node1:2375 tcp://node2:2375
//
// The first is where they go, the others are where they may be now.

import Docker from "dockerode";

const COMMAND = "trap exit TERM; hostname >>/data/index.html; httpd -f -h /data & wait";

function client(url) {
  const { protocol, hostname, port, pathname } = new URL(url);
  return new Docker(protocol === "unix:" ? { socketPath: pathname } : { host: hostname, port });
}

async function remove(docker) {
  const notes = docker.getContainer("notes");
  try {
    await notes.stop();
  } catch (error) {
    if (error.statusCode === 404) return;
    if (error.statusCode !== 304) throw error; // it has stopped already
  }
  await notes.remove();
}

const [here, ...elsewhere] = process.argv.slice(2).map(client);
for (const docker of [...elsewhere, here]) {
  await remove(docker);
}
const notes = await here.createContainer({
  name: "notes",
  Image: "busybox",
  Cmd: ["sh", "-c", COMMAND],
  Env: ["WEAVE_CIDR=10.255.7.1/16"],
  HostConfig: { Binds: ["/flocker/notes:/data"] },
});
await notes.start();
