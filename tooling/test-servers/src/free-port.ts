import { randomInt } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { createServer } from 'node:net';

// Below every system's ephemeral range: neither an outgoing connection nor a bind to port 0 can take the
// port of a server while that is down between kill() and restart().
const FIRST_PORT = 20_000;
const LAST_PORT = 32_000;

/**
 * A TCP port of 127.0.0.1 on which nothing listens right now, and which no other call gives out, in this or in
 * another process, for as long as this process lives: not even while the server on it is down.
 *
 * A stranger may still take it before you do: whoever starts a server on it checks that the process that
 * answers is its own, and tries again on another port otherwise.
 */
export async function freePort(): Promise<number> {
  for (let attempt = 0; attempt < 100; attempt += 1) {
    const port = randomInt(FIRST_PORT, LAST_PORT);
    if ((await claim(port)) && (await canListen(port))) return port;
  }
  throw new Error(`No free port found between ${FIRST_PORT} and ${LAST_PORT}`);
}

// The UDP port of the same number is the claim: the kernel gives it to one process and takes it back at its end,
// however that comes.
function claim(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createSocket('udp4');
    socket.once('error', () => {
      socket.close();
      resolve(false);
    });
    socket.bind({ port, address: '127.0.0.1', exclusive: true }, () => {
      socket.unref();
      resolve(true);
    });
  });
}

function canListen(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = createServer();
    probe.once('error', () => resolve(false));
    probe.listen({ port, host: '127.0.0.1', exclusive: true }, () => probe.close(() => resolve(true)));
  });
}
