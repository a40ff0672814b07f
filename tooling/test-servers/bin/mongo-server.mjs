// node mongo-server.mjs PORT: a server of MongoDB's wire protocol in memory, on 127.0.0.1. It says when it listens.
import { exit } from 'node:process';

// The package's root would import parts that are left out of the installation.
import { CongoServer } from '@push.rocks/smartmongo/dist_ts/congodb/index.js';

const port = Number(process.argv[2]);
try {
  await new CongoServer({ port, host: '127.0.0.1' }).start();
  console.log(`listening on ${port}`);
} catch (error) {
  console.error(error);
  exit(1);
}
