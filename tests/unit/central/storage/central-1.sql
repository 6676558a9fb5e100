-- Central's database of version 1, made by the last commit that wrote it (sqlite3's iterdump).
PRAGMA user_version = 1;
BEGIN TRANSACTION;
CREATE TABLE commands (
    number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE,
    device_id TEXT NOT NULL REFERENCES devices ON DELETE CASCADE,
    name TEXT NOT NULL, request TEXT, asked REAL NOT NULL, answered REAL, status INTEGER,
    response TEXT, queued INTEGER NOT NULL, completion TEXT, completed REAL
);
CREATE TABLE connections (
    number INTEGER PRIMARY KEY,
    device_id TEXT NOT NULL REFERENCES devices ON DELETE CASCADE,
    at REAL NOT NULL, event TEXT NOT NULL, detail TEXT NOT NULL
);
CREATE TABLE devices (
    id TEXT PRIMARY KEY, display_name TEXT NOT NULL, template TEXT, enabled INTEGER NOT NULL,
    provisioned INTEGER NOT NULL, simulated INTEGER NOT NULL, created REAL NOT NULL,
    etag TEXT NOT NULL, announced TEXT, primary_key TEXT, secondary_key TEXT NOT NULL
) WITHOUT ROWID;
INSERT INTO "devices" VALUES('pi-1','pi-1',NULL,1,1,0,1700000000.0,'94b7f5cfd323b3f6',NULL,NULL,'c2Vjb25kYXJ5');
INSERT INTO "devices" VALUES('pi-2','pi-2',NULL,1,1,0,1700000000.0,'61b6ecd0a03fefed',NULL,NULL,'c2Vjb25kYXJ5');
CREATE TABLE messages (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    device_id TEXT NOT NULL REFERENCES devices ON DELETE CASCADE,
    received REAL NOT NULL, created REAL, body BLOB NOT NULL,
    properties TEXT NOT NULL, system TEXT NOT NULL
);
INSERT INTO "messages" VALUES(1,'pi-1',1700000002.0,1700000001.8,X'7B2274656D70223A2032302E352C202268756D6964223A2034352E307D','{}','{"message_id":"0a1b2c3d4e5f:1"}');
INSERT INTO "messages" VALUES(2,'pi-1',1700000004.0,1700000003.8,X'7B2274656D70223A2032302E352C202268756D6964223A2034352E307D','{}','{"message_id":"0a1b2c3d4e5f:2"}');
INSERT INTO "messages" VALUES(3,'pi-1',1700000006.0,1700000005.8,X'7B2274656D70223A2032302E352C202268756D6964223A2034352E307D','{}','{"message_id":"0a1b2c3d4e5f:2"}');
INSERT INTO "messages" VALUES(4,'pi-1',1700000008.0,1700000007.8,X'7B2274656D70223A2032302E352C202268756D6964223A2034352E307D','{}','{"message_id":"0a1b2c3d4e5f:3"}');
INSERT INTO "messages" VALUES(5,'pi-1',1700000010.0,1700000009.8,X'7B2274656D70223A2032302E352C202268756D6964223A2034352E307D','{}','{"message_id":"0a1b2c3d4e5f:7"}');
INSERT INTO "messages" VALUES(6,'pi-1',1700000012.0,1699999952.0,X'7B2274656D70223A2032302E352C202268756D6964223A2034352E307D','{}','{"message_id":"0a1b2c3d4e5f:4"}');
INSERT INTO "messages" VALUES(7,'pi-1',1700000014.0,1699999954.0,X'7B2274656D70223A2032302E352C202268756D6964223A2034352E307D','{}','{"message_id":"0a1b2c3d4e5f:5"}');
INSERT INTO "messages" VALUES(8,'pi-2',1700000016.0,1700000015.8,X'7B2274656D70223A2032302E352C202268756D6964223A2034352E307D','{}','{"message_id":"ffeeddccbbaa:1"}');
INSERT INTO "messages" VALUES(9,'pi-2',1700000018.0,1700000017.8,X'7B2274656D70223A2032302E352C202268756D6964223A2034352E307D','{}','{"message_id":"ffeeddccbbaa:2"}');
INSERT INTO "messages" VALUES(10,'pi-2',1700000020.0,1700000019.8,X'7B2274656D70223A2032302E352C202268756D6964223A2034352E307D','{}','{"message_id":"box:9"}');
INSERT INTO "messages" VALUES(11,'pi-2',1700000022.0,1700000021.8,X'7B2274656D70223A2032302E352C202268756D6964223A2034352E307D','{}','{}');
CREATE TABLE queue (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    device_id TEXT NOT NULL REFERENCES devices ON DELETE CASCADE,
    command_id TEXT NOT NULL, properties TEXT NOT NULL, body BLOB NOT NULL,
    expires REAL NOT NULL, sent INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE sessions (
    device_id TEXT PRIMARY KEY REFERENCES devices ON DELETE CASCADE, filters TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL);
INSERT INTO "settings" VALUES('id_scope','0ne008A0588');
CREATE TABLE telemetry (
    device_id TEXT NOT NULL REFERENCES devices ON DELETE CASCADE,
    component TEXT NOT NULL, name TEXT NOT NULL, time REAL NOT NULL, number INTEGER NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (device_id, component, name, time, number)
) WITHOUT ROWID;
INSERT INTO "telemetry" VALUES('pi-1','','humid',1699999952.0,6,'45.0');
INSERT INTO "telemetry" VALUES('pi-1','','humid',1699999954.0,7,'45.0');
INSERT INTO "telemetry" VALUES('pi-1','','humid',1700000001.8,1,'45.0');
INSERT INTO "telemetry" VALUES('pi-1','','humid',1700000003.8,2,'45.0');
INSERT INTO "telemetry" VALUES('pi-1','','humid',1700000005.8,3,'45.0');
INSERT INTO "telemetry" VALUES('pi-1','','humid',1700000007.8,4,'45.0');
INSERT INTO "telemetry" VALUES('pi-1','','humid',1700000009.8,5,'45.0');
INSERT INTO "telemetry" VALUES('pi-1','','temp',1699999952.0,6,'20.5');
INSERT INTO "telemetry" VALUES('pi-1','','temp',1699999954.0,7,'20.5');
INSERT INTO "telemetry" VALUES('pi-1','','temp',1700000001.8,1,'20.5');
INSERT INTO "telemetry" VALUES('pi-1','','temp',1700000003.8,2,'20.5');
INSERT INTO "telemetry" VALUES('pi-1','','temp',1700000005.8,3,'20.5');
INSERT INTO "telemetry" VALUES('pi-1','','temp',1700000007.8,4,'20.5');
INSERT INTO "telemetry" VALUES('pi-1','','temp',1700000009.8,5,'20.5');
INSERT INTO "telemetry" VALUES('pi-2','','humid',1700000015.8,8,'45.0');
INSERT INTO "telemetry" VALUES('pi-2','','humid',1700000017.8,9,'45.0');
INSERT INTO "telemetry" VALUES('pi-2','','humid',1700000019.8,10,'45.0');
INSERT INTO "telemetry" VALUES('pi-2','','humid',1700000021.8,11,'45.0');
INSERT INTO "telemetry" VALUES('pi-2','','temp',1700000015.8,8,'20.5');
INSERT INTO "telemetry" VALUES('pi-2','','temp',1700000017.8,9,'20.5');
INSERT INTO "telemetry" VALUES('pi-2','','temp',1700000019.8,10,'20.5');
INSERT INTO "telemetry" VALUES('pi-2','','temp',1700000021.8,11,'20.5');
CREATE TABLE templates (id TEXT PRIMARY KEY, interface TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE twins (
    device_id TEXT PRIMARY KEY REFERENCES devices ON DELETE CASCADE,
    desired TEXT NOT NULL DEFAULT '{}', desired_version INTEGER NOT NULL DEFAULT 1,
    desired_times TEXT NOT NULL DEFAULT '{}',
    reported TEXT NOT NULL DEFAULT '{}', reported_version INTEGER NOT NULL DEFAULT 1,
    reported_times TEXT NOT NULL DEFAULT '{}'
) WITHOUT ROWID;
INSERT INTO "twins" VALUES('pi-1','{}',1,'{}','{}',1,'{}');
INSERT INTO "twins" VALUES('pi-2','{}',1,'{}','{}',1,'{}');
CREATE INDEX messages_by_device ON messages (device_id, number);
CREATE INDEX commands_by_device ON commands (device_id, name, number);
CREATE INDEX queue_by_device ON queue (device_id, number);
CREATE INDEX connections_by_device ON connections (device_id, number);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('messages',11);
COMMIT;
