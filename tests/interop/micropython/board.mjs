// A board: MicroPython as it is, and under it what this build lacks, a UDP socket and a source of randomness.
// usage: node board.mjs PROGRAM.py ARGUMENT...   (files among the arguments are put into its file system)
import { randomBytes } from "node:crypto";
import dgram from "node:dgram";
import { existsSync, readFileSync } from "node:fs";
import { basename } from "node:path";
import { Worker, isMainThread, workerData } from "node:worker_threads";

// `shared`: [0] what the worker is asked (1 connect, 2 send, 3 receive), [1] how many bytes it answers (-1: none came).
const SIZE = 4096;

function radio({ control, data }) {
  const words = new Int32Array(control);
  const bytes = new Uint8Array(data);
  const udp = dgram.createSocket("udp4");
  const arrived = [];
  let waiting = null;
  const answer = (count) => {
    words[1] = count;
    Atomics.store(words, 0, 0);
    Atomics.notify(words, 0);
  };
  const deliver = (datagram) => {
    bytes.set(datagram);
    answer(datagram.length);
  };
  udp.on("message", (datagram) => {
    if (waiting === null) return arrived.push(datagram);
    clearTimeout(waiting);
    waiting = null;
    deliver(datagram);
  });
  let peer = null;
  const next = () => {
    const asked = Atomics.load(words, 0);
    const length = words[2];
    if (asked === 1) {
      peer = JSON.parse(Buffer.from(bytes.slice(0, length)).toString());
      arrived.length = 0;
      answer(0);
    } else if (asked === 2) {
      udp.send(Buffer.from(bytes.slice(0, length)), peer[1], peer[0], () => answer(length));
    } else if (asked === 3 && waiting === null) {
      if (arrived.length) deliver(arrived.shift());
      else waiting = setTimeout(() => { waiting = null; answer(-1); }, words[3]);
    }
  };
  const poll = () => { if (Atomics.load(words, 0) > 0) next(); setTimeout(poll, 2); };
  poll();
}

if (!isMainThread) {
  radio(workerData);
} else {
  const { loadMicroPython } = await import("@micropython/micropython-webassembly-pyscript/micropython.mjs");
  const control = new SharedArrayBuffer(16);
  const data = new SharedArrayBuffer(SIZE);
  const words = new Int32Array(control);
  const bytes = new Uint8Array(data);
  const worker = new Worker(new URL(import.meta.url), { workerData: { control, data } });
  const ask = (what, payload = new Uint8Array(0), milliseconds = 0) => {
    bytes.set(payload);
    words[2] = payload.length;
    words[3] = milliseconds;
    Atomics.store(words, 0, what);
    Atomics.wait(words, 0, what);
    return words[1];
  };
  const mp = await loadMicroPython({ stdout: (line) => console.log(line), linebuffer: true });
  mp.registerJsModule("host", {
    connect: (address) => ask(1, Buffer.from(address)),
    send: (hex) => ask(2, Buffer.from(hex, "hex")),
    receive: (milliseconds) => {
      const count = ask(3, undefined, milliseconds);
      return count < 0 ? "" : Buffer.from(bytes.slice(0, count)).toString("hex");
    },
    random: (count) => randomBytes(count).toString("hex"),
  });
  mp.FS.writeFile("/socket.py", `
import binascii, host, json
AF_INET, SOCK_DGRAM = 2, 2
def getaddrinfo(host_name, port):
    return [(AF_INET, SOCK_DGRAM, 0, "", (host_name, port))]
class socket:
    def __init__(self, family, kind):
        self.wait = 0
    def connect(self, address):
        host.connect(json.dumps(address))
    def settimeout(self, seconds):
        self.wait = int(seconds * 1000)
    def send(self, data):
        return host.send(binascii.hexlify(data).decode())
    def recv(self, size):
        found = host.receive(self.wait)
        if not found:
            raise OSError(110)
        return binascii.unhexlify(found)[:size]
    def close(self):
        pass
`);
  const [program, ...given] = process.argv.slice(2);
  for (const path of given.filter(existsSync)) mp.FS.writeFile("/" + basename(path), readFileSync(path));
  const argv = [program, ...given].map((one) => (existsSync(one) ? "/" + basename(one) : one));
  mp.FS.writeFile("/lacking.py", `
import binascii, host, sys
import os as real_os
class With:
    def __init__(self, module, **more):
        self.__module = module
        for name in more:
            setattr(self, name, more[name])
    def __getattr__(self, name):
        return getattr(self.__module, name)
sys.modules["os"] = With(real_os, urandom=lambda count: binascii.unhexlify(host.random(count)))
sys.modules["sys"] = With(sys, argv=${JSON.stringify(argv)})
`);
  mp.runPython("import lacking, sys\nprint(sys.implementation[0])");
  try {
    mp.runPython(readFileSync(program, "utf-8"));
  } catch (error) {
    console.error(error.message);
    process.exitCode = 1;
  }
  await worker.terminate();
}
