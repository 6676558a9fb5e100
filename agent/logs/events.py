"""The kinds of events in the log.

The journal finds a kind of event by its MESSAGE_ID, and deploy/sensor-agent.catalog explains it:
https://www.freedesktop.org/software/systemd/man/systemd.journal-fields.html
"""

from enum import StrEnum


class LogEvent(StrEnum):
    """A kind of event; its value is the MESSAGE_ID, which never changes."""

    # The daemon.
    STARTED = "a905cb0cd231482898d2ac9a61a6ae11"
    STOPPING = "1aee8282e2704693a5ef8f2f680a0e33"
    STOPPED = "de6b024831bc4ee69cdf38250875de59"
    ENDED_AT_ONCE = "b1a21a9ff2624a8f9582c6e573c9e91d"
    FAREWELL_MISSED = "6866db4120a84d79b47edf413613a317"
    CONFIGURATION_UNUSABLE = "9e9b00f49d8d4b10854707e4eca52129"
    CONFIGURATION_APPLIED = "52b4142a1a0a4096842d2d33718cd194"
    CONFIGURATION_REFUSED = "961b7cc6b8384a558469852db12d459a"
    START_FAILED = "137d2ba7ea8e498d9ff33da2e57faf30"
    CRASHED = "0a25721905d740ccb8cf7e85f5541b9b"
    READINGS_STUCK = "1bab2d2739e742bdb7e1e3c2c32fc71f"
    READINGS_MOVE = "7865817005c042a4b8c1b48faf41cf34"
    SYSTEMD_UNHEARD = "08f4232673bc4fd09be86ff7c625cd2f"
    CONTROL_SOCKET_FAILED = "4043e1a5c8674c0bade84505dc2f7bd0"
    REQUEST_FAILED = "db3a6f854fde4f2f8b7bd6665dba4917"

    # The sensor and the LED.
    READING = "5e84f1398b904ce481d39cd5f4f24de4"
    NO_READING = "6e312398c5e54bda947187d3bd201902"
    SENSOR_FAILED = "7e6add4324f44636a18dc8699aaaa1fe"
    SENSOR_DRIVER_BROKEN = "69ec7c47dcc6403ab9a82ea4b34421dc"
    SENSOR_RECOVERED = "4222cf838c79465bbdd7536304aae2da"
    SENSOR_DOUBTED = "73cee54844b24ba785929d4d600609a6"
    SENSOR_TRUSTED = "584f79a496574a7a827ffe7d4d615586"
    LED_FAILED = "b92e86102d4848dca55f20a212c5390e"
    LED_RECOVERED = "c158f0ea48cd4a26a3188ef1627e9e7d"
    LIMIT_CROSSED = "4641fb3392f643eea1c4c1b3fef6ad30"
    LIMIT_LEFT = "5b5e01df091b4ca59f0e507cc4b125ac"

    # The queue of readings and the state directory.
    STORE_DAMAGED = "9e619b7d70b14e63ab53790609d06f01"
    STORE_OF_ANOTHER_BOARD = "6a577147203343aebefb5ceddcd33861"
    STORE_OF_ANOTHER_VERSION = "a9e79f46b0284afc821cb28ef0caeccd"
    DISK_FAILED = "c6e5f91531b749e2a6c6ef71f5b2508b"
    DISK_RECOVERED = "7265afffe612497d8398dea9a17de89d"
    READINGS_DROPPED = "c5e9e092a7d14fba88ae69f594b7775f"

    # The hub.
    CONNECTED = "4caa8bee4322424e9d13c28f1ca5865b"
    HUB_UNREACHABLE = "6f1c9fb5c8f5461b942b0d57961e2c6a"
    HUB_SILENT = "30b418207f7d489fae4e9bd792300a3c"
    HUB_REFUSED = "23330925b30d4272bfe21e02a9e24716"
    REGISTRATION_REFUSED = "d4096dc5c0a14207a091d8dbe1293998"
    HUB_THROTTLED = "7c56193e82fd48e080d7c5a8e18620da"
    HUB_FAILING = "3d676b993e944eedb9806fa35813dc48"
    QUOTA_USED_UP = "74a1d8c4e3874e0b887e29da39460502"
    REQUEST_REFUSED = "1752c8ff27e043a4b18d7241afd3d2f1"
    REPORT_REFUSED = "eaeb4fdd0b2743bbb245bf2b3e2fa624"
    CONNECTION_LOST = "8c29cef752af420d9418aa26f54a1ca4"
    TAKEN_OVER = "f06852264c044a2a8c4fe8c8f486f702"
    SDK_STUCK = "94347fbef2444ce490c7c09e2ca36760"
    CERTIFICATE_UNREADABLE = "e0f12f0d17f84887a377621c2b605db8"

    # The operator.
    COMMAND_DONE = "e66febd309bd41d8a275c6aeb9430db4"
    COMMAND_REFUSED = "fd93698367094fb49258f656c142fde3"
    COMMAND_FAILED = "948f6bfc0eaf48a982378c80a19d9b49"
    COMMAND_RESULT_LATE = "f59c977f524f47b49a1282abab09eaf5"
    PROPERTY_SET = "14b671cc2ce448b0a3d1506ea75aca80"
    PROPERTY_UNKNOWN = "94b5741b6acf48e2bfdbcf1222d1c15b"
    PROPERTY_REFUSED = "93c7caf3abbe4c72a71e512e7ea4af5c"
    PROPERTY_FAILED = "5138ce65d8e443a7951f65fadc4b568f"
    MESSAGE_IGNORED = "8bce6b5140104424b8c4e9608fb40e66"
    MOVE_ORDERED = "2c949c0f51c6443fbb512c857c5694ea"
    MOVE_DONE = "9511e03acb1546d1ae69dddb36440fe5"
    MOVE_UNDONE = "c3ddec5bd40247c39685dd22cada6bca"
    MOVE_STUCK = "f4095dd4e59041d497281413c30d40e0"
    MOVE_FORGOTTEN = "418a636674734b32bace8bac78c9fda3"

    def about(self, **fields: object) -> dict[str, object]:
        """Return the `extra` of a log call: `log.info("...", extra=STARTED.about(PIN=4))`.

        Field names are in capitals, as in the journal. Fields that are None are left out.
        """
        given = {name: value for name, value in fields.items() if value is not None}
        return {"MESSAGE_ID": self.value, **given}
