// A device made with Microsoft's SDK for Node.js: registers, sends, answers a method, syncs its
// twin. Its environment says what it connects to. Each line of its input is sent as telemetry, and
// it prints what happens as lines of JSON.

"use strict";

const readline = require("node:readline");
const { Client, Message } = require("azure-iot-device");
const { Mqtt } = require("azure-iot-device-mqtt");
const { ProvisioningDeviceClient } = require("azure-iot-provisioning-device");
const { Mqtt: ProvisioningMqtt } = require("azure-iot-provisioning-device-mqtt");
const { SymmetricKeySecurityClient } = require("azure-iot-security-symmetric-key");

const { CENTRAL_HOST, CENTRAL_ID_SCOPE, DEVICE_ID, DEVICE_KEY, MODEL_ID } = process.env;

const print = (event, data) => console.log(JSON.stringify({ event, ...data }));

async function register() {
  const security = new SymmetricKeySecurityClient(DEVICE_ID, DEVICE_KEY);
  const client = ProvisioningDeviceClient.create(
    CENTRAL_HOST,
    CENTRAL_ID_SCOPE,
    new ProvisioningMqtt(),
    security,
  );
  client.setProvisioningPayload({ modelId: MODEL_ID });
  const { assignedHub, deviceId } = await client.register();
  print("registered", { assignedHub, deviceId });
  return `HostName=${assignedHub};DeviceId=${deviceId};SharedAccessKey=${DEVICE_KEY}`;
}

async function send(client, number, body) {
  const message = new Message(body);
  message.messageId = `node:${number}`;
  message.contentType = "application/json";
  message.contentEncoding = "utf-8";
  message.properties.add("iothub-creation-time-utc", "2026-01-02T03:04:05.678Z");
  message.properties.add("room", "green house/1 & 2");
  await client.sendEvent(message);
  print("sent", {});
}

async function main() {
  const client = Client.fromConnectionString(await register(), Mqtt);
  await client.setOptions({ modelId: MODEL_ID });
  await client.open();
  client.onDeviceMethod("blink", async (request, response) => {
    print("method", { payload: request.payload });
    await response.send(200, { description: `Blinking every ${request.payload} s` });
  });
  client.on("message", async (message) => {
    const name = message.properties.getValue("method-name");
    await client.complete(message);
    print("message", { name, body: message.data.toString() });
  });
  const twin = await client.getTwin();
  const onDesired = (desired) => {
    print("desired", { desired });
    if (desired.brightness === undefined) return;
    const ack = { value: desired.brightness, ac: 200, av: desired.$version, ad: "completed" };
    twin.properties.reported.update({ brightness: ack }, (error) =>
      print("reported", { error: error ? String(error) : null }),
    );
  };
  // The first call, at once, is with what is set already.
  await new Promise((resolve) =>
    twin.on("properties.desired", (desired) => resolve(onDesired(desired))),
  );
  print("ready", {});
  let number = 0;
  for await (const line of readline.createInterface({ input: process.stdin })) {
    await send(client, ++number, line);
  }
  await client.close();
  print("closed", {});
  process.exit(0);
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
