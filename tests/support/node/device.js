// A device made with Microsoft's SDK for Node.js: registers, sends, answers a method, syncs its
// twin. It is told what to do by its environment, and tells what it did in lines of JSON.

"use strict";

const { Client, Message } = require("azure-iot-device");
const { Mqtt } = require("azure-iot-device-mqtt");
const { ProvisioningDeviceClient } = require("azure-iot-provisioning-device");
const { Mqtt: ProvisioningMqtt } = require("azure-iot-provisioning-device-mqtt");
const { SymmetricKeySecurityClient } = require("azure-iot-security-symmetric-key");

const { CENTRAL_HOST, CENTRAL_ID_SCOPE, DEVICE_ID, DEVICE_KEY, MODEL_ID } = process.env;

const tell = (event, data) => console.log(JSON.stringify({ event, ...data }));

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
  tell("registered", { assignedHub, deviceId });
  return `HostName=${assignedHub};DeviceId=${deviceId};SharedAccessKey=${DEVICE_KEY}`;
}

async function main() {
  const client = Client.fromConnectionString(await register(), Mqtt);
  await client.setOptions({ modelId: MODEL_ID });
  await client.open();
  client.onDeviceMethod("blink", async (request, response) => {
    tell("method", { payload: request.payload });
    await response.send(200, { description: `Blinking every ${request.payload} s` });
  });
  client.on("message", async (message) => {
    const name = message.properties.getValue("method-name");
    await client.complete(message);
    tell("message", { name, body: message.data.toString() });
  });
  const twin = await client.getTwin();
  twin.on("properties.desired", (desired) => {
    tell("desired", { desired });
    if (desired.brightness === undefined) return;
    const ack = { value: desired.brightness, ac: 200, av: desired.$version, ad: "completed" };
    twin.properties.reported.update({ brightness: ack }, (error) =>
      tell("reported", { error: error ? String(error) : null }),
    );
  });
  const message = new Message(JSON.stringify({ temp: 21.5, humid: 45 }));
  message.messageId = "node:1";
  message.contentType = "application/json";
  message.contentEncoding = "utf-8";
  message.properties.add("iothub-creation-time-utc", "2026-01-02T03:04:05.678Z");
  await client.sendEvent(message);
  tell("ready", {});
  process.stdin.on("end", async () => {
    await client.close();
    tell("closed", {});
    process.exit(0);
  });
  process.stdin.resume();
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
