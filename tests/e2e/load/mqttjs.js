// SPDX-License-Identifier: Apache-2.0
// One client of MQTT.js (Debian's node-mqtt): node mqttjs.js URL CLIENT-ID VERSION BYTES [CA-FILE]
// Connects, and hears its own message of BYTES bytes once in each QoS; prints what became of it as JSON.
'use strict';
const crypto = require('crypto');
const fs = require('fs');
const mqtt = require('mqtt');

const [url, clientId, version, bytes, ca] = process.argv.slice(2);
const options = { clientId, protocolVersion: Number(version), reconnectPeriod: 0, connectTimeout: 15000 };
if (ca) options.ca = fs.readFileSync(ca);
if (version === '3') options.protocolId = 'MQIsdp';

function say(result) {
  process.stdout.write(JSON.stringify(result) + '\n');
}

const client = mqtt.connect(url, options);
client.on('error', (error) => {
  say({ error: error.message, code: error.code });
  process.exit(1);
});

client.on('connect', () => {
  const topic = `mqttjs/${clientId}`;
  const data = crypto.randomBytes(Number(bytes));
  let qos = 0;
  let open = 2; // of this QoS: heard, acknowledged to us, and (2) by us to the end, or DISCONNECT overtakes PUBCOMP
  const publish = () => client.publish(topic, data, { qos }, settle);

  function settle() {
    open -= 1;
    if (open > 0) return;
    qos += 1;
    open = qos === 2 ? 3 : 2;
    if (qos <= 2) publish();
    else client.end(false, {}, () => say({ heard: qos }));
  }

  client.on('packetsend', (packet) => {
    if (packet.cmd === 'pubcomp') setImmediate(settle); // it is written behind this event
  });
  client.on('message', (_, payload) => {
    if (payload.equals(data)) {
      settle();
      return;
    }
    say({ error: `QoS ${qos}: ${payload.length} bytes came back changed` });
    process.exit(1);
  });
  client.subscribe(topic, { qos: 2 }, publish);
});
